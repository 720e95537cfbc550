// Takes a request body apart into events, one at a time: finds the shape (one event, an array, a
// wrapper with batch-level fields, NDJSON), cuts, and has each piece checked by the parser.
// Path: hot (per event).  Thread: one owner.
//
// Invariants
//   1. kEnd comes only after every byte of the body was checked: of a body with a syntax error
//      anywhere the caller sees kError before kEnd (in NDJSON each line stands for itself and is
//      kRejected instead).
//   2. One call of next() does a bounded amount of work: one event (at most limits.event_bytes) or
//      kScanStepBytes of scanning.
//
// A UTF-8 byte order mark before the first token is skipped (RFC 8259 section 8.1 allows it).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "collector/event/arena.h"
#include "collector/event/event_parser.h"
#include "collector/event/limits.h"
#include "collector/event/scan.h"

namespace weir::event {

// What a protocol expects in a body.
struct BodyPlan {
  enum class Kind : uint8_t {
    kNative,     // one event, an array, {"events":[…]} or NDJSON
    kOneObject,  // the body is the event
    kWrapper,    // an object with the events under `batch`
  };
  Kind kind = Kind::kNative;
  std::string_view batch = "events";
  bool batch_is_event = false;  // kWrapper: the member is one event instead of an array
  bool lines = false;           // kNative: the client says that it is NDJSON
};

struct BodyError {
  enum class Kind : uint8_t {
    kNone,
    kEmpty,             // nothing but white space
    kSyntax,            // not JSON; offset and reason say where and why
    kNotAnObject,       // JSON, but no object or array where one has to be
    kMissingBatch,      // kWrapper without its member, or with another type under its name
    kEventTooLarge,     // one event is larger than limits.event_bytes
    kEnvelopeTooLarge,  // the batch-level fields are larger than limits.envelope_bytes
    kTooManyEvents,     // more than limits.events
  };
  Kind kind = Kind::kNone;
  size_t offset = 0;
  std::string_view reason;
};

class BodyReader {
 public:
  enum class Step : uint8_t {
    kMore,      // work remains; call again, now or in the next slice
    kHead,      // a wrapper's batch-level fields are known; its events follow
    kEvent,     // parser() describes the event
    kRejected,  // an element that is no event: rejection() says why
    kEnd,
    kError,
  };

  BodyReader(EventParser& parser, const Limits& limits) : parser_(&parser), limits_(limits) {}
  void set_limits(const Limits& limits) { limits_ = limits; }  // between two bodies

  // LIFETIME: body stays alive and unchanged until kEnd or kError.
  void start(std::string_view body, const BodyPlan& plan);
  Step next();

  // After kEvent and kRejected.
  uint32_t index() const { return index_; }  // of the event in the request, from 0
  std::string_view event() const { return event_; }
  struct Rejection {
    std::string_view reason;  // "invalid_json", "not_an_object", "event_too_large"
    SyntaxError detail;       // offset from the start of the body
  };
  const Rejection& rejection() const { return rejection_; }

  // After kHead: the batch-level fields.
  struct Member {
    std::string_view name;   // literal, without quotes
    std::string_view value;  // JSON text
    Word word = Word::kNone;
  };
  const std::vector<Member>& members() const { return members_; }  // without the batch itself
  const Member* member(uint64_t words) const;  // the preferred one of several words, or null

  const BodyError& error() const { return error_; }
  size_t position() const { return at_; }  // bytes worked off, for the caller's clock
  // Batch-level fields as JSON text without secrets (write keys); empty when there are none.
  std::string_view envelope(Arena& arena) const;

 private:
  enum class State : uint8_t { kStart, kWrapper, kArray, kEvent, kLines, kDone };
  static constexpr size_t kMaxMembers = 256;

  Step begin();
  Step begin_native();
  Step one_event(size_t begin, size_t end);
  Step scan_wrapper();
  bool scan_member();
  bool begin_value();
  Step end_wrapper();
  Step end_native_object();
  Step head();
  bool members_are_valid();
  Step next_element();
  Step end_array();
  Step element(size_t begin);
  bool open_window(size_t begin);
  size_t element_in_window(size_t begin);
  Step next_line();
  Step line(size_t begin, size_t end);
  // The end of the value at `begin`, 0 after an error.
  size_t value_end(size_t begin);
  Step accept(std::string_view text);
  Step reject(std::string_view text, std::string_view reason, SyntaxError detail);
  bool count_event();
  Step fail(BodyError::Kind kind, size_t offset, std::string_view reason);
  Step syntax_error(size_t offset, std::string_view reason);

  EventParser* parser_;
  Limits limits_;
  BodyPlan plan_;
  std::string_view body_;
  State state_ = State::kDone;
  size_t at_ = 0;
  size_t begin_ = 0;  // the first byte after byte order mark and white space
  uint32_t index_ = 0;
  uint32_t events_ = 0;
  bool in_wrapper_ = false;
  bool array_started_ = false;
  // The piece of the body whose structure the parser found at once, while it has window_id_.
  size_t window_begin_ = 0;
  size_t window_end_ = 0;
  uint64_t window_id_ = 0;
  size_t alone_until_ = 0;  // elements that begin before are looked at one by one
  std::string_view event_;
  Rejection rejection_;
  BodyError error_;

  // The wrapper's scan.
  std::vector<Member> members_;
  size_t batch_begin_ = 0;
  size_t batch_end_ = 0;  // 0: not found
  bool name_seen_ = false;
  bool too_many_members_ = false;
  bool in_value_ = false;  // a container is being scanned
  bool after_member_ = false;
  size_t name_begin_ = 0;
  size_t name_end_ = 0;
  size_t value_begin_ = 0;
  ContainerScan scan_;
};

}  // namespace weir::event
