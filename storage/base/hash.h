// The one place that includes xxhash.h. Fingerprints (XXH3, 128 bit, seeded) identify idempotency
// keys; checksums (XXH3, 64 bit) protect what is on disk.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>

namespace weir {

// 128 bits over (tenant, idempotency key). All zero means "none: do not deduplicate".
struct Fingerprint {
  uint64_t low = 0;
  uint64_t high = 0;

  bool empty() const { return low == 0 && high == 0; }
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
  friend auto operator<=>(const Fingerprint&, const Fingerprint&) = default;
};

// The secret of a data directory: seeds fingerprints, so that nobody outside can construct
// collisions. Created with the directory, repeated in every segment.
struct DedupeSecret {
  static constexpr size_t kSize = 192;  // XXH3's own secret size; XXH3_SECRET_SIZE_MIN is 136
  unsigned char bytes[kSize] = {};
};

// Unambiguous over the pair: the tenant's length is part of what is hashed. Never returns the empty
// fingerprint. Allocation-free for keys up to 512 bytes together.
Fingerprint make_fingerprint(const DedupeSecret& secret, std::string_view tenant,
                             std::string_view idempotency_key);

// Seeded so that a valid record in the wrong place (another sequence number) fails.
uint64_t checksum64(std::string_view bytes, uint64_t seed);

// The same over several pieces, as if they were concatenated.
class Checksum64 {
 public:
  explicit Checksum64(uint64_t seed);
  ~Checksum64();
  Checksum64(const Checksum64&) = delete;
  Checksum64& operator=(const Checksum64&) = delete;
  void update(std::string_view bytes);
  uint64_t digest() const;

 private:
  void* state_;
};

// A plain fast hash for in-memory tables.
uint64_t hash64(std::string_view bytes);

}  // namespace weir
