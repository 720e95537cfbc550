#include "bench/load/request_source.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cstring>

#include "storage/base/check.h"

namespace weir::bench {
namespace {

std::string gzip(const std::string& plain) {
  z_stream stream{};
  // 15 + 16: the largest window, gzip framing; level 1 because the load generator must stay cheap.
  WEIR_CHECK(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, plain.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  WEIR_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

void put_number(char* to, uint64_t number) {
  for (size_t i = kIdDigits; i-- > 0;) {
    to[i] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
}

}  // namespace

RequestSource::RequestSource(const LoadOptions& options, unsigned thread)
    : options_(options),
      id_prefix_(fmt::format("{}-{:02}-", options.run_id, thread)),
      random_(0x5eed + thread) {
  const std::vector<std::string> keys =
      options.keys.empty() ? std::vector<std::string>{""} : options.keys;
  for (const std::string& key : keys) {
    double weight = 0;
    std::vector<Template>& of_key = templates_.emplace_back();
    for (const MixEntry& entry : options.mix) {
      of_key.push_back(make_template(entry.batch, key));
      weight += entry.weight;
      of_key.back().cumulative_weight = weight;
    }
  }
}

std::string RequestSource::id_text(uint64_t number) const {
  return fmt::format("{}{:012}", id_prefix_, number);
}

// One event of about event_bytes, with the fields a web shop sends.
std::string RequestSource::event_text(std::vector<size_t>* id_offsets, size_t base) const {
  const bool segment = options_.shape == Shape::kSegment;
  std::string text = segment ? R"({"type":"track","messageId":")" : R"({"id":")";
  text += id_prefix_;
  id_offsets->push_back(base + text.size());
  text += std::string(kIdDigits, '0');
  text +=
      segment
          ? R"(","event":"product_viewed","userId":"user-4711","timestamp":"2026-11-20T21:00:00.000Z")"
          : R"(","name":"product_viewed","timestamp":1795000000000,"sessionId":"s-8f14e45fceea167a","userId":"user-4711","shopId":"shop_123","url":"https://shop.example/p/42?ref=mail")";
  text +=
      R"(,"properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"currency":"EUR","title":")";
  const std::string end = R"("}})";
  static constexpr std::string_view kFiller =
      "Tasse \\\"gro\u00df\\\" blau, 0.3 l, sp\u00fclmaschinenfest; ";
  while (text.size() + end.size() + kFiller.size() <= options_.event_bytes) text += kFiller;
  while (text.size() + end.size() < options_.event_bytes) text += 'x';
  return text + end;
}

std::string RequestSource::head_for(size_t content_length, const std::string& key) const {
  std::string path = options_.url.path;
  if (options_.shape == Shape::kSegment && path == "/v1/events") path = "/v1/batch";
  std::string head = fmt::format("POST {} HTTP/1.1\r\nHost: {}:{}\r\n", path, options_.url.host,
                                 options_.url.port);
  head += options_.shape == Shape::kNdjson ? "Content-Type: application/x-ndjson\r\n"
                                           : "Content-Type: application/json\r\n";
  if (options_.gzip) head += "Content-Encoding: gzip\r\n";
  if (!key.empty()) head += "X-Write-Key: " + key + "\r\n";
  return head + fmt::format("Content-Length: {}\r\n\r\n", content_length);
}

RequestSource::Template RequestSource::make_template(unsigned batch, const std::string& key) const {
  Template made;
  const bool segment = options_.shape == Shape::kSegment;
  const bool ndjson = options_.shape == Shape::kNdjson;
  if (segment)
    made.body = R"({"batch":[)";
  else if (batch > 1 && !ndjson)
    made.body = "[";
  for (unsigned i = 0; i < batch; ++i) {
    if (i > 0) made.body += ndjson ? '\n' : ',';
    made.body += event_text(&made.id_offsets, made.body.size());
  }
  if (segment)
    made.body += R"(],"sentAt":"2026-11-20T21:00:00.500Z"})";
  else if (batch > 1 && !ndjson)
    made.body += "]";
  made.head = head_for(made.body.size(), key);
  return made;
}

uint64_t RequestSource::pick_id(MadeRequest* made) {
  if (options_.duplicates > 0 && next_id_ > 0 &&
      std::uniform_real_distribution<double>(0, 1)(random_) < options_.duplicates) {
    ++made->duplicates;
    return std::uniform_int_distribution<uint64_t>(0, next_id_ - 1)(random_);
  }
  return next_id_++;
}

MadeRequest RequestSource::next(std::string* out) {
  const std::vector<Template>& of_key = templates_[next_key_];
  next_key_ = (next_key_ + 1) % templates_.size();
  const Template* chosen = &of_key.front();
  if (of_key.size() > 1) {
    const double at =
        std::uniform_real_distribution<double>(0, of_key.back().cumulative_weight)(random_);
    while (chosen->cumulative_weight < at && chosen != &of_key.back()) ++chosen;
  }
  MadeRequest made;
  if (options_.malformed > 0 &&
      std::uniform_real_distribution<double>(0, 1)(random_) < options_.malformed) {
    made.malformed = true;
    static constexpr std::string_view kBroken = R"({"name":"broken","properties":{"a":[1,2})";
    const std::string body = options_.gzip ? gzip(std::string(kBroken)) : std::string(kBroken);
    *out = head_for(body.size(), options_.keys.empty() ? "" : options_.keys.front()) + body;
    return made;
  }
  made.events = static_cast<unsigned>(chosen->id_offsets.size());
  if (options_.gzip) {
    std::string body = chosen->body;
    for (const size_t offset : chosen->id_offsets) put_number(body.data() + offset, pick_id(&made));
    body = gzip(body);
    *out = head_for(body.size(), options_.keys.empty() ? "" : options_.keys.front()) + body;
    return made;
  }
  out->assign(chosen->head);
  const size_t body_at = out->size();
  out->append(chosen->body);
  for (const size_t offset : chosen->id_offsets)
    put_number(out->data() + body_at + offset, pick_id(&made));
  return made;
}

}  // namespace weir::bench
