// One request being read, decoded, lent to the handler, or waiting to leave. Pooled: the head's
// bytes, the header list and a late answer keep their memory from request to request.
// Path: hot (per request).  Thread: the loop's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "collector/http/exchange.h"
#include "collector/http/head_parser.h"
#include "collector/http/head_scanner.h"

namespace weir::http {

class Connection;
class ServerImpl;

class ExchangeImpl final : public Exchange {
 public:
  enum class State : uint8_t {
    kFree,
    kReading,    // head or body incomplete
    kDecoding,   // complete, waits for or is in decompression
    kLent,       // the handler's, no byte of an answer yet
    kStreaming,  // the handler's, between begin_stream() and finish_stream()
    kAnswered,   // waits for earlier requests' answers
  };

  explicit ExchangeImpl(ServerImpl& server) : server_(server) {}

  Request& request() override { return request_; }
  bool client_gone() const override { return connection_ == nullptr; }
  int64_t received_ns() const override { return received_ns_; }
  void respond(const Response& response) override;
  void begin_stream(const Response& head) override;
  bool write_chunk(std::string_view bytes) override;
  size_t stream_backlog() const override;
  void finish_stream() override;

  // Back to the state of a new exchange; keeps reasonable amounts of memory, and a head that was
  // sound.
  void clear();

  // ---- the head of the last request: the next one's is often the same but for its length, also on
  // another connection (a proxy's, an SDK's), and need not be parsed again then.
  // Remembers the head that was just parsed, without leading empty line. version: of the limits.
  void keep_head(uint32_t version);
  // How many of the bytes are a head equal to the one that was kept; request_ and facts_ are as if
  // it had been parsed. 0: not equal or not complete.
  size_t recall_head(std::string_view bytes, uint32_t version);
  bool has_kept_head() const { return kept_.valid; }
  void forget_head();

 private:
  friend class Connection;
  friend class ServerImpl;

  struct KeptHead {
    bool valid = false;
    uint32_t version = 0;
    size_t length_at = 0;  // where the digits of Content-Length begin; without it: the head's end
    size_t length_digits = 0;
    HeadFacts facts;
  };

  ServerImpl& server_;
  Connection* connection_ = nullptr;  // null: the client is gone
  ExchangeImpl* next_ = nullptr;      // in its connection's queue or the server's pool
  ExchangeImpl* next_decode_ = nullptr;
  State state_ = State::kFree;
  bool connection_queued_ = false;  // its head is complete, or it is refused
  bool close_ = false;              // the connection ends with this answer
  bool continue_wanted_ = false;    // 100 Continue is still to be sent
  bool stream_chunked_ = false;
  bool stream_discards_ = false;  // HEAD: the stream's bytes are not sent
  Coding coding_ = Coding::kIdentity;
  uint64_t max_body_bytes_ = 0;  // decoded
  int64_t received_ns_ = 0;
  HeadFacts facts_;
  KeptHead kept_;
  HeadScanner scanner_;
  std::string head_;    // the raw head; request_ and facts_ point into it once it is complete
  std::string answer_;  // rendered but not yet this exchange's turn
  std::string client_ip_;
  Body encoded_;  // compressed body while it is decoded
  Request request_;
};

}  // namespace weir::http
