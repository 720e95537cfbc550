// An event as a line of ClickHouse's JSONEachRow format: one member per column.
// Path: warm (per event and destination).  Thread: the object belongs to one.
//
// Invariant: `raw` and `envelope` are String columns that hold the client's JSON text unchanged, so
// no value a client may send is one a column cannot hold.
#pragma once

#include <string>
#include <string_view>

#include "forwarder/compression.h"
#include "forwarder/destination.h"

namespace weir::forwarder {

class ClickhouseEncoder : public Encoder {
 public:
  // LIFETIME: compressor outlives the encoder.
  ClickhouseEncoder(std::string_view store_id, Compressor& compressor)
      : store_id_(store_id), compressor_(compressor) {}
  void begin(std::string_view batch_id) override;
  void add(const storage::StoredEvent& event, const EventFields& fields) override;
  size_t bytes() const override { return buffer_.size(); }
  Status finish(std::string* body) override;

 private:
  void text(std::string_view key, std::string_view value);  // left out when empty
  void time(std::string_view key, std::string_view key_ms, int64_t wall_ms);

  const std::string store_id_;
  Compressor& compressor_;
  std::string buffer_;
  std::string id_;  // of the event in hand
};

}  // namespace weir::forwarder
