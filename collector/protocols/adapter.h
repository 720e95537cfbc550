// The frame of a wire protocol: which paths it serves, how its bodies are cut, what its events mean
// in canonical fields, and what it answers. One file per protocol implements Adapter; the pipeline
// does everything else, the same for all. docs/protocols.md says how to add one.
// Path: hot (per request and per event).  Thread: adapters have no state; any reactor's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "collector/event/arena.h"
#include "collector/event/body_reader.h"
#include "collector/event/event_parser.h"
#include "collector/http/exchange.h"
#include "collector/protocols/request_head.h"
#include "storage/base/event_record.h"

namespace weir::protocols {

// A path of a protocol. A trailing '*' stands for any rest of the path (GET routes only).
struct Route {
  enum class Use : uint8_t {
    kBody,   // events in the body
    kQuery,  // one event in the query string
    kInfo,   // no event: start-up configuration and the like, answered by info()
  };
  std::string_view path;
  http::Method method = http::Method::kPost;
  Use use = Use::kBody;
  uint8_t variant = 0;  // the adapter's own
};

// One event and what surrounds it. LIFETIME: the call's.
struct EventInput {
  const RequestHead& head;
  const event::BodyReader& reader;   // the batch-level fields
  const event::EventParser* parser;  // the event; null for Use::kQuery
  uint8_t variant;
  std::string_view user_id;  // from a verified user token
  event::Arena& arena;       // where decoded text goes; lives as long as the fields
};

// What became of one event.
struct EventResult {
  enum class Status : uint8_t { kAccepted, kDuplicate, kRejected };
  uint32_t index = 0;
  Status status = Status::kAccepted;
  std::string_view id;
  std::string_view reason;  // of a rejection, a stable code
  std::string_view detail;  // of a rejection, for a person; may be empty
};

// What became of a request whose body was readable.
struct Outcome {
  uint64_t accepted = 0;
  uint64_t duplicates = 0;
  uint64_t rejected = 0;
  bool received_only = false;  // ?ack=received: lent to the store, not yet committed
  // Rejected events in the order of the request; with ?verbose=1 all of them.
  std::span<const EventResult> results;
  bool all_rejected() const { return accepted == 0 && duplicates == 0 && rejected > 0; }
};

class Adapter {
 public:
  virtual ~Adapter() = default;
  // Metrics label and the events' `source`.
  virtual std::string_view name() const = 0;
  virtual std::span<const Route> routes() const = 0;

  virtual event::BodyPlan plan(const RequestHead& head, uint8_t variant) const = 0;
  // False: the bearer is a user token, not a write key.
  virtual bool bearer_is_key() const { return true; }
  // A refusal the head alone decides, beyond what all protocols share.
  virtual std::optional<http::HttpError> check_head(const RequestHead& head,
                                                    uint64_t max_body_bytes) const;
  // A refusal that the batch-level fields of a wrapper decide.
  virtual std::optional<http::HttpError> check_wrapper(const event::BodyReader& reader) const;

  // Fills the canonical fields a client can send; the pipeline adds tenant, key, source and so on.
  // Returns why the protocol rejects the event, empty when it does not.
  virtual std::string_view read_event(const EventInput& input, EventFields& fields) const = 0;

  // The answer once the outcome is known. text is scratch for the body.
  virtual http::Response answer(const Outcome& outcome, std::string& text) const = 0;
  // The answer says of each event whether it was taken: clients send again what was not. Of any
  // other protocol a request of which an event was shed is answered 503 as a whole.
  virtual bool reports_each_event() const { return false; }
  // What an unreadable body means to this protocol's clients.
  virtual http::HttpError body_error(const event::BodyReader& reader) const;
  // The body of a whole-request error.
  virtual std::string shape_error(const http::HttpError& error) const;
  // Answers a Use::kInfo route.
  virtual http::Response info(const RequestHead& head, uint8_t variant, std::string& text) const;
};

constexpr std::string_view kAckCommitted = "Weir-Ack: committed\r\n";
constexpr std::string_view kAckReceived = "Weir-Ack: received\r\n";

}  // namespace weir::protocols
