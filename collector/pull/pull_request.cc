#include "collector/pull/pull_request.h"

#include <algorithm>

#include "collector/admin/consumer_json.h"
#include "collector/event/json_value.h"
#include "collector/http/query.h"

namespace weir::pull {
namespace {

using event::JsonValue;
using forwarder::PullCall;
using forwarder::PullKind;

constexpr std::string_view kPrefix = "/pull/v1/";
constexpr size_t kMaxEventsNamed = 20'000;    // nacks and rejects of one ack
constexpr int64_t kMaxDelaySeconds = 86'400;  // of a nack
constexpr size_t kMaxReasonBytes = 1'000;

auto wrong(std::string_view name, std::string_view wanted) {
  return fail(ErrorCode::kInvalidArgument, "\"{}\" must be {}", name, wanted);
}

Status read_number(std::string_view name, const JsonValue& value, int64_t min, uint64_t* to) {
  const auto number = value.integer();
  if (!number || *number < min) return wrong(name, fmt::format("a whole number, at least {}", min));
  *to = static_cast<uint64_t>(*number);
  return {};
}

// One entry of nack or reject: {"seq":…} and one more member.
struct Named {
  Position position;
  int64_t delay_ms = 0;
  std::string reason = "rejected";
};

Status read_named_member(std::string_view name, const JsonValue& value, Named* named) {
  if (name == "seq") {
    const auto text = value.string();
    if (!text) return wrong("seq", "a text like \"0-17\"");
    WEIR_ASSIGN_OR_RETURN(named->position, Position::parse(*text));
  } else if (name == "delay_seconds") {
    uint64_t seconds = 0;
    WEIR_RETURN_IF_ERROR(read_number(name, value, 0, &seconds));
    named->delay_ms = std::min(static_cast<int64_t>(seconds), kMaxDelaySeconds) * 1000;
  } else if (name == "reason") {
    const auto text = value.string();
    if (!text) return wrong("reason", "a text");
    named->reason = text->substr(0, kMaxReasonBytes);
  }
  return {};
}

// [{"seq":"0-17",…},…]; a plain "0-17" is short for {"seq":"0-17"}.
Status read_named(std::string_view list, const JsonValue& value,
                  FunctionRef<void(Named named)> take) {
  if (!value.is_array()) return wrong(list, "an array");
  Status status;
  size_t count = 0;
  value.each_element([&](JsonValue element) {
    Named named;
    if (++count > kMaxEventsNamed)
      status = fail(ErrorCode::kInvalidArgument, "\"{}\" has more than {} entries", list,
                    kMaxEventsNamed);
    else if (element.string())
      status = read_named_member("seq", element, &named);
    else if (!element.is_object())
      status = wrong(list, "an array of objects with a \"seq\"");
    else
      element.each_member([&](std::string_view name, JsonValue member) {
        status = read_named_member(name, member, &named);
        return status.has_value();
      });
    if (status && named.position.number == 0)
      status = wrong(list, "an array of objects with a \"seq\" like \"0-17\"");
    if (status) take(std::move(named));
    return status.has_value();
  });
  return status;
}

Status read_member(std::string_view name, const JsonValue& value, PullCall& call, bool* has_to) {
  uint64_t number = 0;
  if (value.is_null()) return {};
  if (name == "max_events") return read_number(name, value, 1, &call.max_events);
  if (name == "max_bytes") return read_number(name, value, 1, &call.max_bytes);
  if (name == "wait_ms") {
    WEIR_RETURN_IF_ERROR(read_number(name, value, 0, &number));
    call.wait_ms = static_cast<int64_t>(std::min<uint64_t>(number, 86'400'000));
  } else if (name == "lease_seconds") {
    WEIR_RETURN_IF_ERROR(read_number(name, value, 1, &number));
    call.lease_ms = static_cast<int64_t>(std::min<uint64_t>(number, 86'400 * 366)) * 1000;
  } else if (name == "lease") {
    const auto text = value.string();
    if (!text) return wrong(name, "the text a lease came with");
    call.lease = *text;
  } else if (name == "nack") {
    return read_named(name, value, [&](Named named) {
      call.nacks.push_back({named.position, named.delay_ms});
    });
  } else if (name == "reject") {
    return read_named(name, value, [&](Named named) {
      call.rejects.push_back({named.position, std::move(named.reason)});
    });
  } else if (name == "to") {
    *has_to = true;
    WEIR_ASSIGN_OR_RETURN(call.seek, admin::read_seek_target(value));
  }
  return {};  // members nobody knows are for later versions
}

// The weight 0 in "gzip;q=0" (RFC 9110 section 12.4.2).
bool is_refused(std::string_view parameters) {
  const size_t at = parameters.find("q=");
  return at != parameters.npos &&
         parameters.substr(at + 2).find_first_not_of("0. ") == parameters.npos;
}

}  // namespace

std::span<const Operation> operations() {
  static constexpr Operation kTable[] = {
      {http::Method::kGet, "", PullKind::kShow},
      {http::Method::kPost, "/lease", PullKind::kLease},
      {http::Method::kPost, "/ack", PullKind::kAck},
      {http::Method::kPost, "/renew", PullKind::kRenew},
      {http::Method::kPost, "/release", PullKind::kRelease},
      {http::Method::kPost, "/seek", PullKind::kSeek},
  };
  return kTable;
}

std::optional<PullKind> find_operation(http::Method method, std::string_view path,
                                       std::string* consumer, bool* known) {
  if (method == http::Method::kHead) method = http::Method::kGet;
  *known = false;
  if (!path.starts_with(kPrefix)) return std::nullopt;
  path.remove_prefix(kPrefix.size());
  const size_t slash = std::min(path.find('/'), path.size());
  *consumer = http::percent_decode(path.substr(0, slash));
  if (consumer->empty()) return std::nullopt;
  for (const Operation& operation : operations()) {
    if (operation.behind != path.substr(slash)) continue;
    *known = true;
    if (method == operation.method) return operation.kind;
  }
  return std::nullopt;
}

Status read_request(const http::Request& request, PullCall& call) {
  if (request.header("accept").find("application/x-ndjson") != std::string_view::npos)
    call.format = forwarder::BodyFormat::kNdjson;
  call.compression = accepted_compression(request.header("accept-encoding"));
  const std::string_view body = request.body.view();
  bool has_to = false;
  if (body.find_first_not_of(" \t\r\n") != body.npos) {
    WEIR_ASSIGN_OR_RETURN(const JsonValue value, JsonValue::check(body));
    if (!value.is_object())
      return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
    Status status;
    value.each_member([&](std::string_view name, JsonValue member) {
      status = read_member(name, member, call, &has_to);
      return status.has_value();
    });
    WEIR_RETURN_IF_ERROR(std::move(status));
  }
  const bool needs_lease = call.kind == PullKind::kAck || call.kind == PullKind::kRenew ||
                           call.kind == PullKind::kRelease;
  if (needs_lease && call.lease.empty())
    return fail(ErrorCode::kInvalidArgument, "\"lease\" is missing: the text the lease came with");
  if (call.kind == PullKind::kSeek && !has_to)
    return fail(ErrorCode::kInvalidArgument,
                "\"to\" is missing: \"earliest\", \"latest\", a time, or a seq per store shard");
  return {};
}

forwarder::Compression accepted_compression(std::string_view accept_encoding) {
  bool gzip = false;
  bool zstd = false;
  while (!accept_encoding.empty()) {
    const size_t comma = std::min(accept_encoding.find(','), accept_encoding.size());
    std::string_view one = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(std::min(accept_encoding.size(), comma + 1));
    const size_t semicolon = std::min(one.find(';'), one.size());
    if (is_refused(one.substr(semicolon))) continue;
    one = one.substr(0, semicolon);
    one.remove_prefix(std::min(one.find_first_not_of(' '), one.size()));
    one = one.substr(0, one.find(' '));
    gzip = gzip || http::header_is(one, "gzip");
    zstd = zstd || http::header_is(one, "zstd");
  }
  return zstd   ? forwarder::Compression::kZstd
         : gzip ? forwarder::Compression::kGzip
                : forwarder::Compression::kNone;
}

}  // namespace weir::pull
