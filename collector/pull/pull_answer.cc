#include "collector/pull/pull_answer.h"

#include <algorithm>

#include "collector/admin/consumer_json.h"
#include "collector/json_writer.h"
#include "forwarder/compression.h"
#include "storage/base/clock.h"

namespace weir::pull {
namespace {

using forwarder::BodyFormat;
using forwarder::PullCall;
using forwarder::PullKind;

// Configured names go into headers as they are, but for what would end the line.
std::string one_line(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return out;
}

admin::Reply refusal(const PullCall& call) {
  const Error& error = call.status.error();
  if (error.code == ErrorCode::kPermission)
    return admin::error_reply(403, call.code, error.message);
  admin::Reply reply = admin::error_reply(error);
  if (!call.code.empty()) reply = admin::error_reply(reply.status, call.code, error.message);
  return reply;
}

admin::Reply lease_answer(PullCall& call, const Node& node) {
  admin::Reply reply;
  if (call.empty) {
    reply.status = 204;
    reply.content_type.clear();
    return reply;
  }
  reply.body = std::move(call.body);
  const std::string_view encoding = forwarder::content_encoding(call.compression);
  if (!encoding.empty()) reply.headers += fmt::format("Content-Encoding: {}\r\n", encoding);
  if (call.format != BodyFormat::kNdjson) return reply;
  reply.content_type = "application/x-ndjson";
  reply.headers += fmt::format(
      "Weir-Lease: {}\r\nWeir-Lease-Expires: {}\r\nWeir-Delivery: {}\r\nWeir-Node: {}\r\n"
      "Weir-Store: {}\r\nWeir-Backlog: events={}, oldest_seconds={}\r\n",
      call.lease, format_rfc3339_ms(call.expires_ms), call.delivery, one_line(node.name),
      node.store_id, call.backlog_events, call.backlog_oldest_seconds);
  return reply;
}

}  // namespace

admin::Reply make_answer(PullCall& call, const Node& node) {
  if (!call.status) return refusal(call);
  JsonWriter json;
  switch (call.kind) {
    case PullKind::kLease:
      return lease_answer(call, node);
    case PullKind::kAck:
      json.begin_object().field("acked", call.acked).field("nacked", call.nacked);
      json.field("rejected", call.rejected).field("dead_lettered", call.dead_lettered);
      break;
    case PullKind::kRenew:
      json.begin_object().field("lease", call.lease);
      json.field("expires_at", format_rfc3339_ms(call.expires_ms));
      break;
    case PullKind::kRelease:
      json.begin_object().field("released", call.released);
      break;
    case PullKind::kSeek:
      admin::write_seek(json, call);
      return admin::json_reply(json.take());
    default:
      admin::write_consumer(json, call.infos.front());
      return admin::json_reply(json.take());
  }
  json.end_object();
  return admin::json_reply(json.take());
}

}  // namespace weir::pull
