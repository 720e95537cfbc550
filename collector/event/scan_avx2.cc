// scan_container with AVX2; compiled with -mavx2 and only called where the processor has it.
#include "collector/event/scan_avx2.h"

#if defined(__AVX2__)

#include <immintrin.h>

#include "collector/event/scan_blocks.h"

namespace weir::event {
namespace {

inline uint64_t equal_bits(__m256i low, __m256i high, char byte) {
  const __m256i wanted = _mm256_set1_epi8(byte);
  const auto bits = [](__m256i equal) {
    return static_cast<uint32_t>(_mm256_movemask_epi8(equal));
  };
  return uint64_t{bits(_mm256_cmpeq_epi8(low, wanted))} |
         uint64_t{bits(_mm256_cmpeq_epi8(high, wanted))} << 32;
}

inline BlockBits load_block(const char* at) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32));
  // Bit 5 is what tells [ from { and ] from }.
  const __m256i bit = _mm256_set1_epi8(0x20);
  const __m256i low_folded = _mm256_or_si256(low, bit);
  const __m256i high_folded = _mm256_or_si256(high, bit);
  return {equal_bits(low, high, '"'), equal_bits(low, high, '\\'),
          equal_bits(low_folded, high_folded, '{'), equal_bits(low_folded, high_folded, '}')};
}

}  // namespace

size_t scan_container_avx2(ContainerScan& scan, const char* text, size_t at, size_t end) {
  return scan_blocks<ContainerScan, load_block>(scan, text, at, end);
}

}  // namespace weir::event

#endif
