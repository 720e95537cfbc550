// A batch in the JSON batch format of CloudEvents 1.0 (application/cloudevents-batch+json). The
// event's own object is `data`, byte for byte; canonical fields are extension attributes.
// Path: warm (per event and destination).  Thread: the object belongs to one.
//
// Invariants: those of forwarder/encoder.h. `source` is /<tenant>, so that CloudEvents' own rule,
// (source, id) names an event, is ours, (tenant, id).
#pragma once

#include <string>
#include <string_view>

#include "forwarder/compression.h"
#include "forwarder/destination.h"

namespace weir::forwarder {

class CloudEventsEncoder : public Encoder {
 public:
  // LIFETIME: compressor outlives the encoder.
  CloudEventsEncoder(std::string_view node, std::string_view store_id, Compressor& compressor);

  void begin(std::string_view batch_id) override;
  void add(const storage::StoredEvent& event, const EventFields& fields) override;
  size_t bytes() const override { return buffer_.size(); }
  Status finish(std::string* body) override;

 private:
  const std::string store_id_;
  std::string after_seq_;  // ,"storeid":"…","node":"…"
  Compressor& compressor_;
  std::string buffer_;
  std::string id_;  // of the event in hand
};

}  // namespace weir::forwarder
