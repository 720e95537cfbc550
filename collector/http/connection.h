// One client connection: bytes in, exchanges out, answers back in the order of the requests.
// Path: hot.  Thread: the loop's.  Split over connection.cc (reading), connection_answer.cc (queue,
// sending, closing).
//
// Invariants
//   1. queue: front_ is the oldest request without its whole answer in out_; answers enter out_
//      only from the front.
//   2. reading_ is the exchange whose head or body is incomplete; once its head is complete it is
//      also the queue's last entry. Null while a refused body is skipped.
//   3. After ended_ no further request is read: bytes are dropped.
//   4. sending_ is owned by the kernel while stream_.sending(); it changes only afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "collector/http/chunked_decoder.h"
#include "collector/http/exchange_impl.h"
#include "collector/http/ip_ranges.h"
#include "collector/http/server_impl.h"
#include "collector/reactor/loop.h"
#include "collector/reactor/stream.h"

namespace weir::http {

// What one stream (begin_stream) may have waiting for a slow reader.
constexpr size_t kMaxStreamBytes = 256 << 10;

class Connection final : public reactor::StreamHandler {
 public:
  Connection(ServerImpl& server, reactor::Stream& stream);
  ~Connection() override;

  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_sent() override;
  void on_error(int os_errno) override;
  void on_closed() override;

  void flush();   // before the loop sleeps: hands out_ to the stream
  void resume();  // reads on after back-pressure ended
  void drain();

 private:
  friend class ExchangeImpl;
  friend class ServerImpl;

  enum class Phase : uint8_t { kProxyHeader, kHead, kLength, kChunked, kLingering };
  enum class Wait : uint8_t { kNone, kFirstByte, kHead, kBody, kIdle, kLinger };

  struct ReceiveTimer : reactor::Timer {
    explicit ReceiveTimer(Connection& owner) : connection(owner) {}
    void on_timer() override { connection.on_receive_timer(); }
    Connection& connection;
  };
  struct SendTimer : reactor::Timer {
    explicit SendTimer(Connection& owner) : connection(owner) {}
    void on_timer() override { connection.on_send_timer(); }
    Connection& connection;
  };

  // Reading (connection.cc). read_…: takes what it needs from the front of bytes.
  void consume(std::string_view bytes);
  void read_proxy_header();
  void read_head(std::string_view& bytes);
  void finish_head(bool body_follows);
  void begin_request(bool body_follows);
  bool admit(ExchangeImpl& exchange, HttpError& error);
  void find_client(ExchangeImpl& exchange);
  bool answer_options(ExchangeImpl& exchange);
  void begin_body(ExchangeImpl& exchange, bool body_follows);
  void wait_for_body();
  void read_length(std::string_view& bytes);
  void read_chunked(std::string_view& bytes);
  bool keep_chunk(std::string_view data);
  void finish_body();
  void decoded(ExchangeImpl& exchange, const Refusal* refused);
  void deliver(ExchangeImpl& exchange);
  bool blocked() const;  // no further request may begin

  // Refusing and skipping.
  void refuse_reading(const Refusal& reason);
  void refuse(ExchangeImpl& exchange, const HttpError& error);
  void skip_body(const HeadFacts& facts);

  // Queue and sending (connection_answer.cc).
  void enqueue(ExchangeImpl& exchange);
  void answer(ExchangeImpl& exchange, const Response& response);
  void begin_stream(ExchangeImpl& exchange, const Response& head);
  bool write_chunk(ExchangeImpl& exchange, std::string_view bytes);
  size_t stream_backlog(const ExchangeImpl& exchange) const;
  void finish_stream(ExchangeImpl& exchange);
  std::string& output_of(ExchangeImpl& exchange);
  AnswerFraming framing_of(const ExchangeImpl& exchange) const;
  void advance();
  void mark_dirty();     // has something to send or to settle before the loop sleeps
  void update_resume();  // reads on in the next turn if back-pressure ended
  void send_more();
  void settle();  // nothing left to send: idle, linger or close
  void end_of_input();
  size_t unsent_bytes() const { return out_.size() + (sending_.size() - sent_); }
  void close();
  void detach_exchanges();

  // Time.
  void wait_for(Wait what, int64_t deadline_ns);
  void on_receive_timer();
  void on_send_timer();

  ServerImpl& server_;
  reactor::Stream& stream_;
  Connection* previous_live_ = nullptr;
  Connection* next_live_ = nullptr;

  Phase phase_ = Phase::kHead;
  Wait wait_ = Wait::kNone;
  bool trusted_peer_ = false;
  bool eof_ = false;
  bool ended_ = false;      // no further request is read
  bool finishing_ = false;  // the last answer is in out_
  bool linger_ = false;     // the client may still be sending when the connection ends
  bool skipping_ = false;   // the body of a refused request is read and dropped
  bool paused_ = false;
  bool closed_ = false;
  bool dirty_ = false;
  bool resumed_ = false;
  bool receive_timer_armed_ = false;
  bool send_timer_armed_ = false;

  ExchangeImpl* front_ = nullptr;
  ExchangeImpl* back_ = nullptr;
  uint32_t queued_ = 0;
  uint32_t requests_ = 0;
  ExchangeImpl* reading_ = nullptr;
  uint64_t body_left_ = 0;   // kLength
  int64_t deadline_ns_ = 0;  // of wait_
  int64_t armed_ns_ = 0;     // when receive_timer_ fires
  int64_t body_deadline_ns_ = 0;
  int64_t send_deadline_ns_ = 0;

  IpAddress peer_;
  std::string peer_text_;
  ChunkedDecoder chunks_;
  std::string stash_;    // received while blocked() or while a PROXY header is incomplete
  std::string out_;      // rendered, next to be sent
  std::string sending_;  // in flight
  size_t sent_ = 0;      // of sending_
  size_t slice_ = 0;     // of sending_, given to the stream
  ReceiveTimer receive_timer_{*this};
  SendTimer send_timer_{*this};
};

}  // namespace weir::http
