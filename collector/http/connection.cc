// Reading: from bytes to exchanges. See connection.h for the invariants.
#include "collector/http/connection.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "collector/http/cors.h"
#include "collector/http/proxy_protocol.h"
#include "storage/base/check.h"

namespace weir::http {
namespace {

// A refused body up to this size is read and dropped so that the connection can go on; for a larger
// one closing is cheaper for both sides.
constexpr uint64_t kSkipBytes = 256 << 10;
// A client that sends requests and reads no answers is read from no further past this.
constexpr size_t kMaxUnsentBytes = 256 << 10;
constexpr size_t kFirstChunkedBytes = 4096 - Body::kPadding;

IpAddress address_of(const reactor::PeerAddress& peer) {
  IpAddress address;
  if (peer.storage.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &peer.storage, sizeof v6);
    std::memcpy(address.bytes.data(), &v6.sin6_addr, 16);
  } else if (peer.storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &peer.storage, sizeof v4);
    address.bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(address.bytes.data() + 12, &v4.sin_addr, 4);
  }
  return address;
}

HttpError error_of(const Refusal& reason) {
  return {reason.status, reason.code, std::string(reason.message), reason.retry_after_seconds,
          reason.close};
}

bool has_body(const HeadFacts& facts) { return facts.chunked || facts.content_length > 0; }

// Whether the body of a request refused by its head can be skipped. Behind "Expect: 100-continue"
// it cannot be known whether the client still sends it.
bool can_skip(const HeadFacts& facts) {
  return !has_body(facts) ||
         (!facts.chunked && !facts.expect_continue && facts.content_length <= kSkipBytes);
}

}  // namespace

Connection::Connection(ServerImpl& server, reactor::Stream& stream)
    : server_(server), stream_(stream), peer_(address_of(stream.peer())), peer_text_(peer_.text()) {
  trusted_peer_ = server_.trusted_.contains(peer_);
  if (server_.options_.proxy.proxy_protocol && trusted_peer_) phase_ = Phase::kProxyHeader;
  wait_for(Wait::kFirstByte,
           server_.loop_.now_ns() + server_.options_.limits.first_byte_ms * 1'000'000);
}

Connection::~Connection() {
  server_.loop_.cancel(receive_timer_);
  server_.loop_.cancel(send_timer_);
}

void Connection::on_data(std::string_view bytes) {
  if (closed_ || phase_ == Phase::kLingering) return;
  if (ended_) {
    linger_ = true;
    return;
  }
  if (phase_ == Phase::kProxyHeader) {
    stash_.append(bytes);
    read_proxy_header();
  } else if (!stash_.empty() || paused_) {
    stash_.append(bytes);  // was on its way when reading paused
  } else {
    consume(bytes);
  }
}

void Connection::read_proxy_header() {
  ProxyHeader header;
  switch (parse_proxy_header(stash_, header)) {
    case ProxyHeaderState::kIncomplete:
      return;
    case ProxyHeaderState::kInvalid:
      stash_.clear();
      phase_ = Phase::kHead;
      reading_ = server_.take_exchange(*this);
      reading_->forget_head();
      refuse_reading(refusal::kProxyHeader);
      return;
    case ProxyHeaderState::kComplete:
      break;
  }
  if (header.has_address) {
    peer_ = header.address;
    peer_text_ = peer_.text();
    trusted_peer_ = server_.trusted_.contains(peer_);
  }
  phase_ = Phase::kHead;
  const std::string rest = stash_.substr(header.bytes);
  stash_.clear();
  consume(rest);
}

bool Connection::blocked() const {
  return phase_ == Phase::kHead && reading_ == nullptr &&
         (queued_ >= server_.options_.limits.pipelined_requests ||
          unsent_bytes() > kMaxUnsentBytes);
}

void Connection::consume(std::string_view bytes) {
  while (!bytes.empty() && !closed_ && !ended_ && !blocked()) {
    switch (phase_) {
      case Phase::kHead:
        read_head(bytes);
        break;
      case Phase::kLength:
        read_length(bytes);
        break;
      case Phase::kChunked:
        read_chunked(bytes);
        break;
      case Phase::kProxyHeader:
      case Phase::kLingering:
        return;
    }
  }
  if (closed_ || bytes.empty()) return;
  if (ended_) {
    linger_ = true;
    return;
  }
  stash_.assign(bytes);
  if (!paused_) {
    paused_ = true;
    server_.count_limit(queued_ >= server_.options_.limits.pipelined_requests ? "pipelined_requests"
                                                                              : "unsent_bytes");
    stream_.pause_receiving();
  }
}

void Connection::resume() {
  if (closed_ || !paused_ || blocked()) return;
  const std::string pending = std::move(stash_);
  stash_.clear();
  consume(pending);
  if (closed_ || !stash_.empty()) return;
  paused_ = false;
  stream_.resume_receiving();
  if (eof_) end_of_input();
}

void Connection::read_head(std::string_view& bytes) {
  const Limits& limits = server_.options_.limits;
  if (reading_ == nullptr) reading_ = server_.take_exchange(*this);
  ExchangeImpl& exchange = *reading_;
  size_t used = exchange.recall_head(bytes, server_.limits_version_);
  if (used > 0) {
    bytes.remove_prefix(used);
    return begin_request(!bytes.empty());
  }
  if (exchange.has_kept_head()) exchange.forget_head();
  const HeadScanner::State state = exchange.scanner_.scan(bytes, used);
  if (state == HeadScanner::State::kRefused) {
    exchange.head_.append(bytes);
    bytes = {};
    linger_ = true;
    refuse_reading(exchange.scanner_.refused());
    return;
  }
  if (exchange.scanner_.request_line_bytes() > limits.request_line_bytes)
    return refuse_reading(refusal::kRequestLineSize);
  if (exchange.head_.size() + used > limits.header_bytes)
    return refuse_reading(refusal::kHeaderBytes);
  exchange.head_.append(bytes.substr(0, used));
  bytes.remove_prefix(used);
  if (state == HeadScanner::State::kComplete)
    finish_head(!bytes.empty());
  else if (wait_ != Wait::kHead)
    wait_for(Wait::kHead, server_.loop_.now_ns() + limits.head_ms * 1'000'000);
}

void Connection::finish_head(bool body_follows) {
  const Limits& limits = server_.options_.limits;
  ExchangeImpl& exchange = *reading_;
  const HeadScanner& scanner = exchange.scanner_;
  const std::string_view head = std::string_view(exchange.head_).substr(scanner.leading_bytes());
  if (const Refusal* refused =
          server_.parser_.parse(head, scanner.lines(), limits, exchange.request_, exchange.facts_))
    return refuse_reading(*refused);
  if (scanner.leading_bytes() == 0) exchange.keep_head(server_.limits_version_);
  begin_request(body_follows);
}

// The head is complete and sound.
void Connection::begin_request(bool body_follows) {
  const Limits& limits = server_.options_.limits;
  ExchangeImpl& exchange = *reading_;
  wait_ = Wait::kNone;
  enqueue(exchange);
  find_client(exchange);
  ++requests_;
  exchange.close_ = !exchange.facts_.keep_alive || server_.draining_;
  if (limits.requests_per_connection != 0 && requests_ >= limits.requests_per_connection) {
    exchange.close_ = true;
    server_.count_limit("requests_per_connection");
  }
  HttpError error;
  if (!admit(exchange, error)) {
    const HeadFacts facts = exchange.facts_;  // the exchange may be gone after its answer
    error.close = error.close || !can_skip(facts);
    refuse(exchange, error);
    return skip_body(facts);
  }
  if (exchange.request_.method == Method::kOptions && answer_options(exchange)) return;
  begin_body(exchange, body_follows);
}

// Everything that can be said without the body. False: error says why not.
bool Connection::admit(ExchangeImpl& exchange, HttpError& error) {
  const Limits& limits = server_.options_.limits;
  const Request& request = exchange.request_;
  HeadFacts& facts = exchange.facts_;
  const Refusal* refused = nullptr;
  if (facts.has_origin && (!is_echoable_origin(facts.origin) ||
                           !server_.handler_.allows_origin(request, facts.origin))) {
    facts.has_origin = false;  // no permission to echo
    refused = &refusal::kOrigin;
  } else if (facts.expect_unknown) {
    refused = &refusal::kExpectation;
  } else if (facts.coding_unsupported) {
    refused = &refusal::kEncodingUnsupported;
  } else if (facts.content_length > limits.body_bytes) {
    refused = &refusal::kBodyBytes;
  }
  exchange.max_body_bytes_ = limits.decoded_body_bytes;
  if (refused == nullptr && request.method != Method::kOptions) {
    HeadVerdict verdict = server_.handler_.on_head(request);
    if (!verdict.accept) {
      error = std::move(verdict.error);
      server_.count_error(error.code);
      return false;
    }
    if (verdict.max_body_bytes != 0)
      exchange.max_body_bytes_ = std::min(verdict.max_body_bytes, limits.decoded_body_bytes);
    if (facts.coding == Coding::kIdentity && facts.content_length > exchange.max_body_bytes_)
      refused = &refusal::kBodyBytes;
  }
  if (refused == nullptr && !facts.chunked && facts.content_length > 0 &&
      !server_.budget_.reserve(exchange.request_.body, facts.content_length))
    refused = &refusal::kBodyMemory;
  if (refused == nullptr) return true;
  server_.count_refusal(*refused);
  error = error_of(*refused);
  return false;
}

void Connection::find_client(ExchangeImpl& exchange) {
  exchange.client_ip_.assign(peer_text_);
  if (exchange.request_.forwarding_header_present) {
    IpAddress client;
    if (!trusted_peer_)
      server_.headers_ignored_.add();
    else if (forwarded_client(exchange.request_, server_.trusted_, client))
      exchange.client_ip_ = client.text();
  }
  exchange.request_.client_ip = exchange.client_ip_;
}

// Preflights and plain OPTIONS requests are HTTP's; the webhook handshake of CloudEvents is not.
bool Connection::answer_options(ExchangeImpl& exchange) {
  const Request& request = exchange.request_;
  if (request.has_header("webhook-request-origin")) return false;
  std::string headers;
  if (is_preflight(request) && exchange.facts_.has_origin)
    append_preflight_headers(headers, request);
  else
    headers.append("Allow: ").append(kAllowedMethods).append("\r\n");
  const HeadFacts facts = exchange.facts_;
  Response response;
  response.status = 204;
  response.extra_headers = headers;
  response.close = !can_skip(facts);
  server_.count_answer(204);
  answer(exchange, response);
  skip_body(facts);
  return true;
}

void Connection::begin_body(ExchangeImpl& exchange, bool body_follows) {
  const HeadFacts& facts = exchange.facts_;
  if (!has_body(facts)) return finish_body();
  body_deadline_ns_ = server_.loop_.now_ns() + server_.options_.limits.body_ms * 1'000'000;
  if (facts.chunked) {
    phase_ = Phase::kChunked;
    chunks_ =
        ChunkedDecoder(server_.options_.limits.header_bytes, server_.options_.limits.header_count);
  } else {
    phase_ = Phase::kLength;
    body_left_ = facts.content_length;
  }
  if (body_follows) return;
  if (facts.expect_continue) {
    exchange.continue_wanted_ = true;
    advance();
  }
  wait_for_body();
}

void Connection::wait_for_body() {
  const int64_t gap = server_.options_.limits.body_gap_ms * 1'000'000;
  wait_for(Wait::kBody, std::min(server_.loop_.now_ns() + gap, body_deadline_ns_));
}

void Connection::read_length(std::string_view& bytes) {
  const auto taken = static_cast<size_t>(std::min<uint64_t>(body_left_, bytes.size()));
  if (!skipping_) {
    Body& body = reading_->request_.body;
    std::memcpy(body.data() + body.size(), bytes.data(), taken);
    BodyBudget::set_size(body, body.size() + taken);
  }
  bytes.remove_prefix(taken);
  body_left_ -= taken;
  if (body_left_ > 0) return wait_for_body();
  if (skipping_) {
    skipping_ = false;
    phase_ = Phase::kHead;
    wait_ = Wait::kNone;
    mark_dirty();  // settles: idle, or the next request
  } else {
    finish_body();
  }
}

void Connection::read_chunked(std::string_view& bytes) {
  for (;;) {
    std::string_view data;
    switch (chunks_.next(bytes, data)) {
      case ChunkedDecoder::Step::kData:
        if (!keep_chunk(data)) return;
        break;
      case ChunkedDecoder::Step::kNeedMore:
        return wait_for_body();
      case ChunkedDecoder::Step::kDone:
        return finish_body();
      case ChunkedDecoder::Step::kRefused:
        return refuse_reading(chunks_.refused());
    }
  }
}

bool Connection::keep_chunk(std::string_view data) {
  ExchangeImpl& exchange = *reading_;
  Body& body = exchange.request_.body;
  uint64_t limit = server_.options_.limits.body_bytes;
  if (exchange.facts_.coding == Coding::kIdentity)
    limit = std::min(limit, exchange.max_body_bytes_);
  const size_t size = body.size() + data.size();
  if (size + chunks_.chunk_bytes_left() > limit) {
    refuse_reading(refusal::kBodyBytes);
    return false;
  }
  // Grown by doubling, never by what a chunk announces: memory follows the bytes that arrived.
  bool room = true;
  if (body.data() == nullptr)
    room = server_.budget_.reserve(body, std::max(size, kFirstChunkedBytes));
  else if (size > BodyBudget::capacity(body))
    room = server_.budget_.grow(body, std::max(size, BodyBudget::capacity(body) * 2));
  if (!room) {
    refuse_reading(refusal::kBodyMemory);
    return false;
  }
  std::memcpy(body.data() + body.size(), data.data(), data.size());
  BodyBudget::set_size(body, size);
  return true;
}

void Connection::finish_body() {
  ExchangeImpl& exchange = *reading_;
  reading_ = nullptr;
  phase_ = Phase::kHead;
  wait_ = Wait::kNone;
  exchange.continue_wanted_ = false;
  exchange.received_ns_ = server_.loop_.now_ns();
  if (exchange.close_) ended_ = true;
  const std::string_view body = exchange.request_.body.view();
  exchange.coding_ = exchange.facts_.coding;
  // Some SDKs send gzip without saying so; nothing else Weir understands begins like this.
  if (exchange.coding_ == Coding::kIdentity && body.substr(0, 2) == "\x1f\x8b")
    exchange.coding_ = Coding::kGzip;
  if (exchange.coding_ == Coding::kIdentity || body.empty()) return deliver(exchange);
  exchange.encoded_ = std::move(exchange.request_.body);
  exchange.state_ = ExchangeImpl::State::kDecoding;
  const Refusal* refused = nullptr;
  if (server_.decode_now(exchange, refused)) decoded(exchange, refused);
}

void Connection::decoded(ExchangeImpl& exchange, const Refusal* refused) {
  exchange.encoded_ = Body{};
  if (refused == nullptr) return deliver(exchange);
  exchange.request_.body = Body{};
  server_.count_refusal(*refused);
  refuse(exchange, error_of(*refused));
}

void Connection::deliver(ExchangeImpl& exchange) {
  exchange.state_ = ExchangeImpl::State::kLent;
  ++server_.busy_;
  server_.handler_.on_request(exchange);
}

// The request being read cannot be understood, or must not be read further: its answer is the
// connection's last.
void Connection::refuse_reading(const Refusal& reason) {
  ExchangeImpl& exchange = *reading_;
  reading_ = nullptr;
  phase_ = Phase::kHead;
  wait_ = Wait::kNone;
  linger_ = true;
  exchange.request_.body = Body{};
  exchange.continue_wanted_ = false;
  if (exchange.connection_queued_ == false) {
    const size_t leading = exchange.scanner_.leading_bytes();
    if (exchange.request_.path.empty() && exchange.head_.size() > leading)
      HeadParser::parse_request_line_of(std::string_view(exchange.head_).substr(leading),
                                        exchange.request_);
    exchange.client_ip_.assign(peer_text_);
    exchange.request_.client_ip = exchange.client_ip_;
    enqueue(exchange);
  }
  server_.count_refusal(reason);
  HttpError error = error_of(reason);
  error.close = true;
  refuse(exchange, error);
}

void Connection::refuse(ExchangeImpl& exchange, const HttpError& error) {
  const std::string body = server_.handler_.shape_error(exchange.request_, error);
  std::string headers;
  if (error.status == 405) headers.append("Allow: ").append(kAllowedMethods).append("\r\n");
  if (error.status == 415) headers = "Accept-Encoding: gzip, deflate, zstd, identity\r\n";
  Response response;
  response.status = error.status;
  response.body = body;
  response.extra_headers = headers;
  response.close = error.close;
  response.retry_after_seconds = error.retry_after_seconds;
  if (error.close) linger_ = true;
  server_.count_answer(error.status);
  answer(exchange, response);
}

// After the answer to a head: drops the body, or stops reading where the answer closes.
void Connection::skip_body(const HeadFacts& facts) {
  reading_ = nullptr;
  if (ended_ || closed_) {
    linger_ = true;
    return;
  }
  if (!has_body(facts)) return;
  skipping_ = true;
  phase_ = Phase::kLength;
  body_left_ = facts.content_length;
  body_deadline_ns_ = server_.loop_.now_ns() + server_.options_.limits.body_ms * 1'000'000;
  wait_for_body();
}

}  // namespace weir::http
