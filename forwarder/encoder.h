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

class JsonEncoder : public Encoder {
 public:
  // LIFETIME: compressor outlives the encoder.
  JsonEncoder(BodyFormat format, std::string_view node, std::string_view store_id,
              Compressor& compressor);

  void begin(std::string_view batch_id) override;
  void add(const storage::StoredEvent& event, const EventFields& fields) override;
  size_t bytes() const override { return buffer_.size(); }
  Status finish(std::string* body) override;

 private:
  void append_member(std::string_view key_with_quotes, std::string_view text);
  void append_json(std::string_view json);

  const BodyFormat format_;
  const std::string store_id_;
  std::string after_batch_id_;  // ,"node":"…","store_id":"…","events":[
  Compressor& compressor_;
  std::string buffer_;
  bool first_ = true;
};

}  // namespace weir::forwarder
