#include "collector/http/head_scanner.h"

#include <array>

#include "storage/base/bytes.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::http {
namespace {

// The first byte below 0x20 or equal to 0x7f at or after `at`; size() when there is none. Sixteen
// or eight bytes a step: the tests are exact about whether a block has such a byte.
size_t find_control(std::string_view bytes, size_t at) {
#if defined(__SSE2__)
  const __m128i last_control = _mm_set1_epi8(0x1f);
  const __m128i del = _mm_set1_epi8(0x7f);
  while (at + 16 <= bytes.size()) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at));
    const __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(block, last_control), block),
                                      _mm_cmpeq_epi8(block, del));
    if (const int mask = _mm_movemask_epi8(hits); mask != 0)
      return at + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
    at += 16;
  }
#endif
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  while (at + 8 <= bytes.size()) {
    const auto block = load_le<uint64_t>(bytes.data() + at);
    const uint64_t below_space = (block - kOnes * 0x20) & ~block & kHighs;
    const uint64_t flipped = block ^ (kOnes * 0x7f);
    const uint64_t is_delete = (flipped - kOnes) & ~flipped & kHighs;
    // The lowest set bit is exact even where a borrow ran through higher bytes.
    if (const uint64_t hits = below_space | is_delete; hits != 0)
      return at + static_cast<size_t>(__builtin_ctzll(hits)) / 8;
    at += 8;
  }
  while (at < bytes.size() && static_cast<unsigned char>(bytes[at]) >= 0x20 && bytes[at] != 0x7f)
    ++at;
  return at;
}

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<uint8_t>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> kToken = make_token_table();

}  // namespace

bool is_token_char(char c) { return kToken[static_cast<uint8_t>(c)]; }

bool is_token(std::string_view text) {
  for (const char c : text)
    if (!is_token_char(c)) return false;
  return !text.empty();
}

HeadScanner::State HeadScanner::scan(std::string_view bytes, size_t& used) {
  size_t at = 0;
  while (at < bytes.size()) {
    if (after_cr_) {
      if (bytes[at] != '\n') return refuse(refusal::kBareCr);
      after_cr_ = false;
      ++at;
      if (line_bytes_ != 0) {
        if (++lines_ == 1) request_line_bytes_ = line_bytes_;
        line_bytes_ = 0;
      } else if (lines_ != 0) {
        used = at;
        return State::kComplete;
      } else if (leading_ == 0) {
        leading_ = 2;
      } else {
        return refuse(refusal::kEmptyLine);
      }
      continue;
    }
    if (line_bytes_ == 0 && (bytes[at] == ' ' || bytes[at] == '\t'))
      return refuse(lines_ == 0 ? refusal::kRequestLine : refusal::kFold);
    const size_t control = find_control(bytes, at);
    line_bytes_ += control - at;
    at = control;
    if (at == bytes.size()) break;
    if (bytes[at] == '\r') {
      after_cr_ = true;
    } else if (bytes[at] == '\n') {
      return refuse(refusal::kBareLf);
    } else if (bytes[at] == '\t') {
      ++line_bytes_;
    } else {
      return refuse(refusal::kControl);
    }
    ++at;
  }
  used = bytes.size();
  return State::kIncomplete;
}

}  // namespace weir::http
