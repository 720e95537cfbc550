#include "collector/event/scan.h"

#include <cstring>

#include "collector/event/scan_avx2.h"
#include "collector/event/scan_blocks.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::event {
namespace {

using ScanFunction = size_t (*)(ContainerScan&, const char*, size_t, size_t);

#if defined(__SSE2__)
uint64_t equal_bits(const __m128i* parts, char byte) {
  const __m128i wanted = _mm_set1_epi8(byte);
  uint64_t bits = 0;
  for (int i = 0; i < 4; ++i)
    bits |= static_cast<uint64_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(parts[i], wanted))) << 16 * i;
  return bits;
}

BlockBits load_block(const char* at) {
  __m128i parts[4];
  __m128i folded[4];
  for (int i = 0; i < 4; ++i) {
    parts[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 16 * i));
    // Bit 5 is what tells [ from { and ] from }.
    folded[i] = _mm_or_si128(parts[i], _mm_set1_epi8(0x20));
  }
  return {equal_bits(parts, '"'), equal_bits(parts, '\\'), equal_bits(folded, '{'),
          equal_bits(folded, '}')};
}

size_t scan_container_sse2(ContainerScan& scan, const char* text, size_t at, size_t end) {
  return scan_blocks<ContainerScan, load_block>(scan, text, at, end);
}
#endif

struct Choice {
  ScanFunction function;
  std::string_view name;
};

Choice choose() {
#if defined(WEIR_SCAN_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
      __builtin_cpu_supports("popcnt"))
    return {scan_container_avx2, "avx2"};
#endif
#if defined(__SSE2__)
  return {scan_container_sse2, "sse2"};
#else
  return {scan_container_plain, "plain"};
#endif
}

const Choice kChoice = choose();

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

}  // namespace

size_t scan_container(ContainerScan& scan, const char* text, size_t at, size_t end) {
  return kChoice.function(scan, text, at, end);
}

size_t scan_container_plain(ContainerScan& scan, const char* text, size_t at, size_t end) {
  for (; at < end; ++at) {
    const char c = text[at];
    if (scan.escaped != 0) {
      scan.escaped = 0;
      if (c == '"') continue;
    } else if (c == '\\') {
      scan.escaped = 1;
      continue;
    } else if (c == '"') {
      scan.in_string = ~scan.in_string;
      continue;
    }
    if (scan.in_string != 0) continue;
    if (c == '{' || c == '[') ++scan.depth;
    if ((c == '}' || c == ']') && --scan.depth == 0) return at + 1;
  }
  return end;
}

size_t scan_string(const char* text, size_t at, size_t end) {
  for (size_t from = at + 1; from < end;) {
    const void* const found = std::memchr(text + from, '"', end - from);
    if (found == nullptr) break;
    const auto quote = static_cast<size_t>(static_cast<const char*>(found) - text);
    size_t backslashes = 0;
    while (text[quote - 1 - backslashes] == '\\') ++backslashes;  // stops at the opening quote
    if (backslashes % 2 == 0) return quote + 1;
    from = quote + 1;
  }
  return std::string_view::npos;
}

size_t skip_space(const char* text, size_t at, size_t end) {
#if defined(__SSE2__)
  // Compact JSON has none; a pretty-printed body has runs of a few; only an attack has thousands.
  while (end - at >= 16 && is_space(text[at])) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + at));
    const auto equal = [&](char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
    const auto space = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(
        _mm_or_si128(equal(' '), equal('\n')), _mm_or_si128(equal('\t'), equal('\r')))));
    if (space != 0xffff) return at + static_cast<size_t>(__builtin_ctz(~space));
    at += 16;
  }
#endif
  while (at < end && is_space(text[at])) ++at;
  return at;
}

std::string_view scan_implementation_name() { return kChoice.name; }

}  // namespace weir::event
