#include "storage/base/hash.h"

#include <string>

#include "storage/base/bytes.h"
#include "storage/base/check.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

// Longer inputs are worth asking for the processor's own vectors; the library does that on x86.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
extern "C" XXH64_hash_t XXH3_64bits_withSeed_dispatch(const void* input, size_t size,
                                                      XXH64_hash_t seed);
#define WEIR_XXH3_64 XXH3_64bits_withSeed_dispatch
#else
#define WEIR_XXH3_64 XXH3_64bits_withSeed
#endif

namespace weir {

Fingerprint make_fingerprint(const DedupeSecret& secret, std::string_view tenant,
                             std::string_view idempotency_key) {
  // length(tenant) tenant key: two different pairs never give the same bytes.
  char small[520];
  std::string large;
  const size_t size = sizeof(uint32_t) + tenant.size() + idempotency_key.size();
  char* bytes = small;
  if (size > sizeof small) {
    large.resize(size);
    bytes = large.data();
  }
  store_le(bytes, static_cast<uint32_t>(tenant.size()));
  if (!tenant.empty()) std::memcpy(bytes + sizeof(uint32_t), tenant.data(), tenant.size());
  if (!idempotency_key.empty())
    std::memcpy(bytes + sizeof(uint32_t) + tenant.size(), idempotency_key.data(),
                idempotency_key.size());
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(bytes, size, secret.bytes, DedupeSecret::kSize);
  Fingerprint fingerprint{hash.low64, hash.high64};
  if (fingerprint.empty()) fingerprint.low = 1;  // zero is reserved for "none"
  return fingerprint;
}

uint64_t checksum64(std::string_view bytes, uint64_t seed) {
  return WEIR_XXH3_64(bytes.data(), bytes.size(), seed);
}

Checksum64::Checksum64(uint64_t seed) : state_(XXH3_createState()) {
  WEIR_CHECK(state_ != nullptr);
  XXH3_64bits_reset_withSeed(static_cast<XXH3_state_t*>(state_), seed);
}

Checksum64::~Checksum64() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }

void Checksum64::update(std::string_view bytes) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_), bytes.data(), bytes.size());
}

uint64_t Checksum64::digest() const {
  return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_));
}

uint64_t hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace weir
