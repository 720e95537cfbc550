// The destination format of docs/delivery.md: canonical fields as JSON around the client's own
// event object, which is embedded byte for byte.
// Path: warm (per event and destination).  Thread: the object belongs to one.
//
// Invariants
//   1. `raw` is never parsed or rewritten. It was checked as a whole before it was stored, so its
//      only control bytes are white space between tokens; NDJSON leaves its line breaks out.
//   2. The output depends on the event, the batch id and the options alone: encoding an event again
//      gives the same bytes.
//   3. One buffer is reused for every batch; nothing is allocated per event.
#pragma once

#include <string>
#include <string_view>

#include "forwarder/compression.h"
#include "forwarder/destination.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

// The media type of a body in this format.
std::string_view content_type(BodyFormat format);

// What names the event: the client's id, or <store id>-<seq> when it sent none. Appended as plain
// text.
void append_event_id(std::string& out, std::string_view store_id, const storage::StoredEvent& event,
                     const EventFields& fields);
void append_seq(std::string& out, Position position);
void append_decimal(std::string& out, int64_t value);
// JSON text as it is, or without the line breaks between its tokens.
void append_json_text(std::string& out, std::string_view json, bool one_line);
// The event's raw as one JSON value: itself, or a string when it is no JSON.
void append_raw(std::string& out, const EventFields& fields, bool one_line);
// "text", "base64"; empty for JSON.
std::string_view raw_encoding_name(RawEncoding encoding);

// One event as the JSON object of docs/delivery.md.
class EventJson {
 public:
  // alone: it travels without a batch around it, so it carries the store's id itself.
  EventJson(std::string_view store_id, bool one_line, bool alone)
      : store_id_(store_id), one_line_(one_line), alone_(alone) {}
  void append(std::string& out, const storage::StoredEvent& event, const EventFields& fields) const;
  const std::string& store_id() const { return store_id_; }

 private:
  const std::string store_id_;
  const bool one_line_;
  const bool alone_;
};

class JsonEncoder : public Encoder {
 public:
  // LIFETIME: compressor outlives the encoder. alone: see EventJson.
  JsonEncoder(BodyFormat format, std::string_view node, std::string_view store_id,
              Compressor& compressor, bool alone = false);

  void begin(std::string_view batch_id) override;
  void add(const storage::StoredEvent& event, const EventFields& fields) override;
  size_t bytes() const override { return buffer_.size(); }
  Status finish(std::string* body) override;

 private:
  const BodyFormat format_;
  const EventJson event_json_;
  std::string after_batch_id_;  // ,"node":"…","store_id":"…","events":[
  Compressor& compressor_;
  std::string buffer_;
  bool first_ = true;
};

}  // namespace weir::forwarder
