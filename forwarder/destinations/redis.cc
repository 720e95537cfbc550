#include "forwarder/destinations/redis.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "forwarder/destinations/threaded.h"
#include "forwarder/limits.h"
#include "forwarder/record_body.h"
#include "storage/base/url_text.h"

namespace weir::forwarder {
namespace {

// KEYS: the stream, the batch's marker. ARGV: seconds the marker lives, MAXLEN (0: none), then
// tenant, id and event of each. Both keys hash to one slot of a cluster.
constexpr std::string_view kScript = R"(
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
for i = 3, #ARGV, 3 do
  if ARGV[2] == '0' then
    redis.call('XADD', KEYS[1], '*', 'tenant', ARGV[i], 'id', ARGV[i + 1], 'event', ARGV[i + 2])
  else
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*',
               'tenant', ARGV[i], 'id', ARGV[i + 1], 'event', ARGV[i + 2])
  end
end
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return 1)";

struct FreeContext {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

Outcome network(std::string detail) {
  Outcome outcome;
  outcome.network = true;
  outcome.reason = "network";
  outcome.detail = std::move(detail);
  return outcome;
}

bool parse_number(std::string_view text, int* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size() && *value >= 0;
}

class RedisSink : public BlockingSink {
 public:
  RedisSink(const DestinationOptions& options, RedisAddress address, const Clock& clock)
      : options_(options), address_(std::move(address)), clock_(clock) {}

  Outcome deliver(std::string_view batch_id, std::string_view body, uint64_t events,
                  const Cancel& cancel) override {
    Outcome outcome = try_deliver(batch_id, body, events, cancel);
    // What is still on its way on this connection belongs to nobody any more.
    if (outcome.network || cancel.requested()) context_.reset();
    return outcome;
  }

 private:
  using Words = std::vector<std::string_view>;

  Outcome try_deliver(std::string_view batch_id, std::string_view body, uint64_t events,
                      const Cancel& cancel) {
    if (!context_) {
      Outcome connected = connect(cancel);
      if (connected.kind != OutcomeKind::kDelivered) return connected;
    }
    const std::string marker = fmt::format("{{{}}}:batch:{}", options_.stream, batch_id);
    const std::string seconds = std::to_string(kRedisMarkerSeconds);
    const std::string max_length = std::to_string(options_.max_length);
    Words words = {"EVAL", kScript, "2", options_.stream, marker, seconds, max_length};
    Record record;
    while (next_record(&body, &record))
      words.insert(words.end(), {record.tenant, record.id, record.value});
    return command(words, events, after_ms(options_.request_timeout_ms), cancel);
  }

  int64_t after_ms(int64_t ms) const { return clock_.monotonic_ns() + ms * 1'000'000; }

  Outcome connect(const Cancel& cancel) {
    const int64_t deadline_ns = after_ms(options_.connect_timeout_ms);
    context_.reset(address_.socket.empty()
                       ? redisConnectNonBlock(address_.host.c_str(), address_.port)
                       : redisConnectUnixNonBlock(address_.socket.c_str()));
    if (!context_) return network("hiredis has no memory for a connection");
    if (context_->err != 0) return network(fmt::format("cannot connect: {}", context_->errstr));
    const Waited waited = wait_for(context_->fd, POLLOUT, deadline_ns, cancel, clock_);
    int error = waited == Waited::kReady ? 0 : ETIMEDOUT;
    socklen_t size = sizeof error;
    if (waited == Waited::kReady) getsockopt(context_->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return network(fmt::format("cannot connect: {}", std::strerror(error)));

    Words auth = {"AUTH"};
    if (!options_.user.empty()) auth.push_back(options_.user);
    auth.push_back(options_.password);
    const std::string database = std::to_string(address_.database);
    Outcome outcome;
    outcome.kind = OutcomeKind::kDelivered;
    if (!options_.password.empty()) outcome = command(auth, 1, deadline_ns, cancel);
    if (outcome.kind == OutcomeKind::kDelivered && address_.database != 0)
      outcome = command({"SELECT", database}, 1, deadline_ns, cancel);
    // Half a login is none: the next batch begins anew.
    if (outcome.kind != OutcomeKind::kDelivered) context_.reset();
    return outcome;
  }

  // Sends one command and reads its answer.
  Outcome command(const Words& words, uint64_t events, int64_t deadline_ns, const Cancel& cancel) {
    std::vector<const char*> texts;
    std::vector<size_t> sizes;
    for (const std::string_view word : words) {
      texts.push_back(word.data());
      sizes.push_back(word.size());
    }
    if (redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), texts.data(),
                               sizes.data()) != REDIS_OK)
      return network(context_->errstr);
    void* answer = nullptr;
    for (int written = 0; answer == nullptr;) {
      if (written == 0) {
        if (redisBufferWrite(context_.get(), &written) != REDIS_OK)
          return network_error_or_last_words(events);
      } else if (redisGetReplyFromReader(context_.get(), &answer) != REDIS_OK) {
        return network(context_->errstr);
      }
      if (answer != nullptr) break;
      const short wanted = written == 0 ? POLLOUT : POLLIN;
      const Waited waited = wait_for(context_->fd, wanted, deadline_ns, cancel, clock_);
      if (waited == Waited::kCancelled) return network("given up");
      if (waited == Waited::kTimeout) return network("no answer within request_timeout");
      if (written != 0 && redisBufferRead(context_.get()) != REDIS_OK)
        return network(context_->errstr);
    }
    const Reply reply(static_cast<redisReply*>(answer));
    if (reply->type == REDIS_REPLY_ERROR)
      return classify_redis(std::string_view(reply->str, static_cast<size_t>(reply->len)), events);
    Outcome outcome;
    outcome.kind = OutcomeKind::kDelivered;
    outcome.reason = "delivered";
    return outcome;
  }

  // Redis may say why before it closes ("invalid bulk length") while we still write.
  Outcome network_error_or_last_words(uint64_t events) {
    const std::string error = context_->errstr;
    char text[256];
    const ssize_t got = recv(context_->fd, text, sizeof text, MSG_DONTWAIT);
    if (got <= 1 || text[0] != '-') return network(error);
    std::string_view words(text + 1, static_cast<size_t>(got) - 1);
    Outcome outcome = classify_redis(words.substr(0, words.find('\r')), events);
    context_.reset();
    return outcome;
  }

  const DestinationOptions options_;
  const RedisAddress address_;
  const Clock& clock_;
  std::unique_ptr<redisContext, FreeContext> context_;
};

}  // namespace

Result<RedisAddress> parse_redis_url(std::string_view url) {
  const auto bad = [&] {
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" is not redis://host[:port][/database] nor unix:///path[?db=n]",
                url_text(url));
  };
  RedisAddress address;
  std::string_view rest = url;
  if (rest.starts_with("unix://")) {
    rest.remove_prefix(7);
    const size_t query = rest.find('?');
    address.socket = rest.substr(0, query);
    if (!address.socket.starts_with('/')) return bad();
    if (query == std::string_view::npos) return address;
    rest.remove_prefix(query + 1);
    if (!rest.starts_with("db=") || !parse_number(rest.substr(3), &address.database)) return bad();
    return address;
  }
  if (!rest.starts_with("redis://")) return bad();
  rest.remove_prefix(8);
  if (rest.find('@') != std::string_view::npos) return bad();  // user and password are options
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos && slash + 1 < rest.size() &&
      !parse_number(rest.substr(slash + 1), &address.database))
    return bad();
  std::string_view host = rest.substr(0, slash);
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
    if (!parse_number(host.substr(colon + 1), &address.port) || address.port == 0 ||
        address.port > 65535)
      return bad();
    host = host.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) return bad();
  address.host = host;
  return address;
}

Outcome classify_redis(std::string_view error, uint64_t events) {
  // Scripts put the error they met behind words of their own, so it is looked for everywhere.
  static constexpr std::string_view kWords[] = {
      "OOM",        "READONLY", "LOADING", "BUSY",   "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
      "NOREPLICAS", "MISCONF",  "MOVED",   "NOAUTH", "WRONGPASS",  "NOPERM",      "WRONGTYPE"};
  Outcome outcome;
  outcome.detail = error.substr(0, kMaxSnippetBytes);
  if (error.find("invalid bulk length") != std::string_view::npos ||
      error.find("invalid multibulk length") != std::string_view::npos) {
    outcome.kind = events > 1 ? OutcomeKind::kSplit : OutcomeKind::kReject;
    outcome.too_large = true;
    outcome.reason = "too_large";
    return outcome;
  }
  outcome.reason = "redis_error";
  for (const std::string_view word : kWords) {
    if (error.find(word) == std::string_view::npos) continue;
    outcome.reason = "redis_";
    for (const char c : word) outcome.reason.push_back(static_cast<char>(c + 32));
    break;
  }
  return outcome;
}

Result<std::unique_ptr<Destination>> make_redis_destination(const DestinationOptions& options,
                                                            const Identity& identity,
                                                            const Clock& clock) {
  WEIR_ASSIGN_OR_RETURN(RedisAddress address, parse_redis_url(options.url));
  std::vector<std::unique_ptr<BlockingSink>> sinks;
  sinks.push_back(std::make_unique<RedisSink>(options, std::move(address), clock));
  const auto make_encoder = [identity] {
    return std::make_unique<RecordEncoder>(PartitionKey::kNone, identity.store_id);
  };
  return std::make_unique<ThreadedDestination>("weir-redis", std::move(sinks), make_encoder, clock);
}

}  // namespace weir::forwarder
