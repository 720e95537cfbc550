// A batch for receivers that take one message per event (Kafka, Redis Streams): the events as
// records behind one another, so that a batch stays one string of bytes on its way through the
// lane. Path: warm (per event and destination).  Thread: the object belongs to one.
//
//   body   := record*
//   record := key tenant id value, each length:u32 bytes
#pragma once

#include <string>
#include <string_view>

#include "forwarder/destination.h"
#include "forwarder/encoder.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

struct Record {
  std::string_view key;  // what decides the partition; empty: nothing
  std::string_view tenant;
  std::string_view id;
  std::string_view value;  // the event as JSON on one line
};

// What `key` names in the event, or the first that it has of user, anonymous, session, id.
// LIFETIME: a view into fields or id.
std::string_view record_key(PartitionKey key, const EventFields& fields, std::string_view id);

class RecordEncoder : public Encoder {
 public:
  RecordEncoder(PartitionKey key, std::string_view store_id)
      : key_(key), event_json_(store_id, /*one_line=*/true, /*alone=*/true) {}

  void begin(std::string_view batch_id) override;
  void add(const storage::StoredEvent& event, const EventFields& fields) override;
  size_t bytes() const override { return buffer_.size(); }
  Status finish(std::string* body) override;

 private:
  const PartitionKey key_;
  const EventJson event_json_;
  std::string buffer_;
  std::string id_;  // of the event in hand
};

// Takes the next record off the body; false at its end. The body is our own encoder's.
// LIFETIME: views into body's bytes.
bool next_record(std::string_view* body, Record* record);

}  // namespace weir::forwarder
