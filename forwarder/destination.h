// What a lane needs from the thing it sends to. Each kind (HTTP, Kafka, PostgreSQL, a file …) is
// one file in destinations/ that implements Encoder and Destination. Path: warm (per batch;
// Encoder::add per event).  Thread: the forwarder's.
//
// Invariants
//   1. A Send that was lent comes back through take_finished() exactly once, unless abandon() was
//      called: then it never does.
//   2. The same events encoded again by an Encoder of the same options are the same bytes: a batch
//      that is read again after a restart is the batch that was sent before it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/event_record.h"
#include "storage/base/result.h"
#include "storage/store.h"

namespace weir::forwarder {

enum class OutcomeKind : uint8_t {
  kDelivered,
  kRetry,   // the same batch again, later
  kSplit,   // some event in it is not wanted, or there are too many: halve it
  kReject,  // none of its events is wanted: dead letters
};

// What became of one send.
struct Outcome {
  OutcomeKind kind = OutcomeKind::kRetry;
  int status = 0;               // the destination's; 0: it never answered
  bool network = false;         // no usable answer: refused, reset, timeout, TLS, garbage
  bool about_address = false;   // speaks of the address or the credentials, not of an event
  bool too_large = false;       // fewer events at once may do
  int64_t retry_after_ms = -1;  // what the destination asked for; -1: nothing
  std::string reason;           // short and stable, a metric label: "http_400", "too_large"
  std::string detail;           // in words, with a bounded snippet of the answer
};

// Who sends.
struct Identity {
  std::string node;
  std::string store_id;
};

// One batch on its way. LIFETIME: lent to the destination from send() until it comes back.
struct Send {
  std::string_view batch_id;
  std::string_view body;  // as the destination's encoder made it
  uint64_t events = 0;
  void* context = nullptr;  // the owner's

  // Written by the destination before it comes back.
  Outcome outcome;
  int64_t duration_ns = 0;
  Send* next = nullptr;  // the owner's after take_finished()
};

// Turns events into a body: begin, add for each event, finish. Reusable.
class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual void begin(std::string_view batch_id) = 0;
  virtual void add(const storage::StoredEvent& event, const EventFields& fields) = 0;
  virtual size_t bytes() const = 0;  // so far, before compression
  virtual Status finish(std::string* body) = 0;
};

class Destination {
 public:
  virtual ~Destination() = default;

  // LIFETIME: not longer than the destination.
  virtual std::unique_ptr<Encoder> make_encoder() = 0;

  virtual void send(Send& send) = 0;  // lends send; never blocks
  // Makes what progress is possible now; the sends that finished, linked by next, or null.
  virtual Send* take_finished() = 0;
  // Ends every send in flight at once; none of them comes back.
  virtual void abandon() = 0;

  // When to call take_finished(): poll_fd() is readable, or the monotonic time is reached.
  virtual int poll_fd() const = 0;
  virtual int64_t deadline_ns() const = 0;  // INT64_MAX: none
};

}  // namespace weir::forwarder
