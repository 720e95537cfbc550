// Identifiers that leave the process: the store's UUID, positions in the log, batch ids.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace weir {

// A random UUID (RFC 9562 version 4) made with the data directory. (store id, position) names an
// event for ever.
struct StoreId {
  std::array<unsigned char, 16> bytes{};

  static StoreId generate();  // from the kernel's random source
  static Result<StoreId> parse(std::string_view text);
  std::string text() const;  // 36 characters, lower case
  friend bool operator==(const StoreId&, const StoreId&) = default;
};

// A place in the log. Written "<store shard>-<number>". Numbers are dense from 1 within a shard;
// readers must accept gaps (damage set aside, erasure).
struct Position {
  uint16_t shard = 0;
  uint64_t number = 0;

  std::string text() const;
  static Result<Position> parse(std::string_view text);
  friend bool operator==(const Position&, const Position&) = default;
  friend auto operator<=>(const Position&, const Position&) = default;
};

// Fills with bytes from getrandom(2). Aborts the process when the kernel has none: nothing secret
// may be built on a guess.
void fill_random(void* to, size_t size);

}  // namespace weir
