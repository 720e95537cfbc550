#include "collector/http/server.h"

#include <algorithm>
#include <cstring>

#include "collector/http/connection.h"
#include "collector/http/server_impl.h"
#include "storage/base/check.h"

namespace weir::http {
namespace {

constexpr size_t kMaxFreeExchanges = 1024;
constexpr size_t kMaxFreeBuffers = 256;
constexpr size_t kKeptBytes = 16 << 10;  // larger buffers go back to the allocator
constexpr size_t kHeadBytes = 2 << 10;   // capacity of a new head: browsers send about 800 bytes
constexpr size_t kAnswerBytes = 1 << 10;

}  // namespace

Result<std::unique_ptr<Server>> Server::create(const ServerOptions& options, reactor::Loop& loop,
                                               Handler& handler, BodyBudget& budget,
                                               MetricRegistry& metrics) {
  WEIR_ASSIGN_OR_RETURN(IpRanges trusted, IpRanges::parse(options.proxy.trusted));
  if (options.limits.pipelined_requests == 0 || options.limits.expansion_ratio == 0)
    return fail(ErrorCode::kInvalidArgument,
                "limits.pipelined_requests and limits.expansion_ratio must be at least 1");
  if (options.server_header.find_first_of("\r\n") != std::string::npos)
    return fail(ErrorCode::kInvalidArgument, "the Server header must be one line");
  std::unique_ptr<Server> server =
      std::make_unique<ServerImpl>(options, std::move(trusted), loop, handler, budget, metrics);
  return server;
}

void BodyBudget::export_metrics(MetricRegistry& metrics) {
  metrics.gauge_callback(Metric::kBodyBudgetUsed, {},
                         [this] { return static_cast<double>(used()); });
  metrics.gauge_callback(Metric::kBodyBudgetLimit, {},
                         [this] { return static_cast<double>(limit()); });
}

ServerImpl::ServerImpl(const ServerOptions& options, IpRanges trusted, reactor::Loop& loop,
                       Handler& handler, BodyBudget& budget, MetricRegistry& metrics)
    : options_(options),
      trusted_(std::move(trusted)),
      loop_(loop),
      handler_(handler),
      budget_(budget),
      metrics_(metrics),
      decoder_(budget),
      writer_(options.server_header),
      work_(*this),
      headers_ignored_(metrics.counter(Metric::kProxyHeadersIgnored)),
      request_seconds_(metrics.histogram(Metric::kRequestSeconds)) {
  loop_.add_turn_hook(*this);
}

ServerImpl::~ServerImpl() {
  WEIR_CHECK(live_ == nullptr, "an HTTP server was destroyed before its connections closed");
  while (decode_front_ != nullptr) {
    ExchangeImpl* const exchange = decode_front_;
    decode_front_ = exchange->next_decode_;
    give_exchange(exchange);
  }
  while (free_exchanges_ != nullptr) {
    ExchangeImpl* const exchange = free_exchanges_;
    free_exchanges_ = exchange->next_;
    delete exchange;
  }
}

reactor::StreamHandler* ServerImpl::on_connection(reactor::Stream& stream) {
  if (draining_) return nullptr;
  auto* connection = new Connection(*this, stream);
  connection->next_live_ = live_;
  if (live_ != nullptr) live_->previous_live_ = connection;
  live_ = connection;
  return connection;
}

void ServerImpl::forget(Connection& connection) {
  if (connection.previous_live_ != nullptr)
    connection.previous_live_->next_live_ = connection.next_live_;
  else
    live_ = connection.next_live_;
  if (connection.next_live_ != nullptr)
    connection.next_live_->previous_live_ = connection.previous_live_;
  if (connection.dirty_) std::replace(dirty_.begin(), dirty_.end(), &connection, {});
  if (connection.resumed_) std::replace(resumed_.begin(), resumed_.end(), &connection, {});
}

uint64_t ServerImpl::unsent_bytes() const {
  uint64_t bytes = 0;
  for (const Connection* one = live_; one != nullptr; one = one->next_live_)
    bytes += one->unsent_bytes();
  return bytes;
}

void ServerImpl::drain() {
  draining_ = true;
  for (Connection* connection = live_; connection != nullptr;) {
    Connection* const next = connection->next_live_;
    connection->drain();
    connection = next;
  }
}

void ServerImpl::before_sleep() {
  // Settling a connection can mark it again; nothing here calls the handler.
  for (size_t i = 0; i < dirty_.size(); ++i) {
    Connection* const connection = dirty_[i];
    if (connection == nullptr) continue;
    connection->dirty_ = false;
    connection->flush();
  }
  dirty_.clear();
}

void ServerImpl::WorkTask::run() {
  server.decode_slice();
  std::swap(server.resumed_, server.resuming_);
  for (Connection* connection : server.resuming_) {
    if (connection == nullptr) continue;
    connection->resumed_ = false;
    connection->resume();
  }
  server.resuming_.clear();
}

ExchangeImpl* ServerImpl::take_exchange(Connection& connection) {
  ExchangeImpl* exchange = free_exchanges_;
  if (exchange != nullptr) {
    free_exchanges_ = exchange->next_;
    --free_exchange_count_;
  } else {
    exchange = new ExchangeImpl(*this);
    exchange->head_.reserve(kHeadBytes);
    exchange->request_.headers.reserve(32);
  }
  exchange->next_ = nullptr;
  exchange->connection_ = &connection;
  exchange->state_ = ExchangeImpl::State::kReading;
  return exchange;
}

void ServerImpl::give_exchange(ExchangeImpl* exchange) {
  if (free_exchange_count_ >= kMaxFreeExchanges) {
    delete exchange;
    return;
  }
  exchange->clear();
  exchange->next_ = free_exchanges_;
  free_exchanges_ = exchange;
  ++free_exchange_count_;
}

std::string ServerImpl::take_buffer() {
  std::string buffer;
  if (!free_buffers_.empty()) {
    buffer = std::move(free_buffers_.back());
    free_buffers_.pop_back();
  } else {
    buffer.reserve(kAnswerBytes);
  }
  return buffer;
}

void ServerImpl::give_buffer(std::string&& buffer) {
  if (free_buffers_.size() >= kMaxFreeBuffers || buffer.capacity() > kKeptBytes) {
    std::string().swap(buffer);
    return;
  }
  buffer.clear();
  free_buffers_.push_back(std::move(buffer));
}

DecodeLimits ServerImpl::decode_limits(const ExchangeImpl& exchange) const {
  return {exchange.max_body_bytes_, options_.limits.expansion_ratio};
}

bool ServerImpl::decode_now(ExchangeImpl& exchange, const Refusal*& refused) {
  switch (decoder_.decode_small(exchange.coding_, exchange.encoded_.view(), decode_limits(exchange),
                                exchange.request_.body)) {
    case ContentDecoder::Small::kDone:
      refused = nullptr;
      return true;
    case ContentDecoder::Small::kRefused:
      refused = &decoder_.small_refused();
      return true;
    case ContentDecoder::Small::kNotSmall:
      break;
  }
  exchange.next_decode_ = nullptr;
  (decode_front_ == nullptr ? decode_front_ : decode_back_->next_decode_) = &exchange;
  decode_back_ = &exchange;
  loop_.defer(work_);
  return false;
}

// At most one slice a turn, so that a large body holds nobody else up for long.
void ServerImpl::decode_slice() {
  ExchangeImpl* const exchange = decode_front_;
  if (exchange == nullptr) return;
  ContentDecoder::Step step = ContentDecoder::Step::kMore;
  if (exchange->connection_ != nullptr) {
    if (!decode_begun_)
      decoder_.begin(exchange->coding_, exchange->encoded_.view(), decode_limits(*exchange));
    decode_begun_ = true;
    step = decoder_.step(exchange->request_.body);
  }
  if (exchange->connection_ == nullptr || step != ContentDecoder::Step::kMore) {
    decode_begun_ = false;
    decode_front_ = exchange->next_decode_;
    if (decode_front_ == nullptr) decode_back_ = nullptr;
    if (exchange->connection_ == nullptr)
      give_exchange(exchange);
    else
      exchange->connection_->decoded(
          *exchange, step == ContentDecoder::Step::kDone ? nullptr : &decoder_.refused());
  }
  if (decode_front_ != nullptr) loop_.defer(work_);
}

namespace {
template <class Key>
Counter& cached(std::map<Key, Counter*, std::less<>>& counters, const Key& key,
                MetricRegistry& metrics, Metric metric, std::vector<std::string> labels) {
  Counter*& counter = counters[key];
  if (counter == nullptr) counter = &metrics.counter(metric, std::move(labels));
  return *counter;
}
}  // namespace

void ServerImpl::count_limit(std::string_view limit) {
  const std::string key(limit);
  cached(limit_counters_, key, metrics_, Metric::kHttpLimits, {key}).add();
}

void ServerImpl::count_error(std::string_view code) {
  const std::string key(code);
  cached(error_counters_, key, metrics_, Metric::kHttpErrors, {key}).add();
}

void ServerImpl::count_answer(int status) {
  cached(status_counters_, status, metrics_, Metric::kHttpRequests,
         {"http", std::to_string(status)})
      .add();
}

void ServerImpl::count_refusal(const Refusal& refused) {
  count_error(refused.code);
  if (!refused.limit.empty()) count_limit(refused.limit);
}

void ExchangeImpl::clear() {
  connection_ = nullptr;
  next_ = next_decode_ = nullptr;
  state_ = State::kFree;
  close_ = continue_wanted_ = stream_chunked_ = stream_discards_ = connection_queued_ = false;
  received_ns_ = 0;
  scanner_ = HeadScanner{};
  encoded_ = Body{};
  context = nullptr;
  if (answer_.capacity() > kKeptBytes) std::string().swap(answer_);
  answer_.clear();
  request_.client_ip = {};
  request_.body = Body{};
  if (!kept_.valid) forget_head();
}

void ExchangeImpl::keep_head(uint32_t version) {
  if (head_.size() > kKeptBytes) return;
  kept_.facts = facts_;
  kept_.version = version;
  kept_.length_at = head_.size();
  kept_.length_digits = 0;
  kept_.valid = true;
  if (!facts_.has_content_length) return;
  const std::string_view length = request_.header("content-length");
  kept_.length_at = static_cast<size_t>(length.data() - head_.data());
  kept_.length_digits = length.size();
}

size_t ExchangeImpl::recall_head(std::string_view bytes, uint32_t version) {
  const size_t size = head_.size();
  if (!kept_.valid || kept_.version != version || bytes.size() < size) return 0;
  const size_t behind = kept_.length_at + kept_.length_digits;
  if (std::memcmp(bytes.data(), head_.data(), kept_.length_at) != 0 ||
      std::memcmp(bytes.data() + behind, head_.data() + behind, size - behind) != 0)
    return 0;
  facts_ = kept_.facts;
  if (kept_.length_digits == 0) return size;
  const std::string_view digits = bytes.substr(kept_.length_at, kept_.length_digits);
  if (!parse_content_length(digits, facts_.content_length)) return 0;
  digits.copy(head_.data() + kept_.length_at, digits.size());
  return size;
}

void ExchangeImpl::forget_head() {
  kept_.valid = false;
  facts_ = HeadFacts{};
  if (head_.capacity() > kKeptBytes) std::string().swap(head_);
  head_.clear();
  request_.method = Method::kOther;
  request_.target = request_.path = request_.query = {};
  request_.minor_version = 1;
  request_.forwarding_header_present = false;
  request_.headers.clear();
}

void ExchangeImpl::respond(const Response& response) {
  WEIR_CHECK(state_ == State::kLent, "an exchange must be answered exactly once");
  --server_.busy_;
  if (connection_ != nullptr)
    connection_->answer(*this, response);
  else
    server_.give_exchange(this);
}

void ExchangeImpl::begin_stream(const Response& head) {
  WEIR_CHECK(state_ == State::kLent, "an exchange must be answered exactly once");
  state_ = State::kStreaming;
  if (connection_ != nullptr) connection_->begin_stream(*this, head);
}

bool ExchangeImpl::write_chunk(std::string_view bytes) {
  WEIR_CHECK(state_ == State::kStreaming, "write_chunk() needs begin_stream()");
  return connection_ != nullptr && connection_->write_chunk(*this, bytes);
}

size_t ExchangeImpl::stream_backlog() const {
  return connection_ == nullptr ? 0 : connection_->stream_backlog(*this);
}

void ExchangeImpl::finish_stream() {
  WEIR_CHECK(state_ == State::kStreaming, "finish_stream() needs begin_stream()");
  --server_.busy_;
  if (connection_ != nullptr)
    connection_->finish_stream(*this);
  else
    server_.give_exchange(this);
}

}  // namespace weir::http
