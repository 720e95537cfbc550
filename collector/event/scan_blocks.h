// The loop of scan_container over blocks of 64 bytes, compiled once per instruction set (scan.cc,
// scan_avx2.cc). Everything has internal linkage and uses nothing from the standard library: code
// for the larger instruction set must never be picked by the linker for the smaller one.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace weir::event {
namespace {

// One bit per byte of a block, the first byte lowest.
struct BlockBits {
  uint64_t quote;
  uint64_t backslash;
  uint64_t open;   // { [
  uint64_t close;  // } ]
};

// Which bytes are escaped by an odd run of backslashes before them (simdjson, "Parsing Gigabytes of
// JSON per Second", section 3.1.1). *carry: the first byte of the block is escaped.
//   text       \\\"  \"      backslash  1110 010
//   odd starts are found by their parity; adding them to the runs carries to the byte behind.
inline uint64_t escaped_bytes(uint64_t backslash, uint64_t* carry) {
  if (backslash == 0) {
    const uint64_t escaped = *carry;
    *carry = 0;
    return escaped;
  }
  constexpr uint64_t kEven = 0x5555555555555555u;
  backslash &= ~*carry;
  const uint64_t follows = backslash << 1 | *carry;
  const uint64_t odd_starts = backslash & ~kEven & ~follows;
  uint64_t even_ends = 0;
  *carry = __builtin_add_overflow(odd_starts, backslash, &even_ends) ? 1 : 0;
  return (kEven ^ even_ends << 1) & follows;
}

// Bit i of the result is the parity of bits 0..i: set from each quote up to the next one.
inline uint64_t prefix_xor(uint64_t bits) {
  bits ^= bits << 1;
  bits ^= bits << 2;
  bits ^= bits << 4;
  bits ^= bits << 8;
  bits ^= bits << 16;
  bits ^= bits << 32;
  return bits;
}

// Offset behind the byte that closes the outermost container, or 64.
inline size_t close_in_block(uint64_t open, uint64_t close, uint64_t* depth) {
  const auto closes = static_cast<uint64_t>(__builtin_popcountll(close));
  if (closes < *depth) {
    *depth = *depth + static_cast<uint64_t>(__builtin_popcountll(open)) - closes;
    return 64;
  }
  for (uint64_t bits = open | close; bits != 0; bits &= bits - 1) {
    const uint64_t lowest = bits & -bits;
    if (open & lowest)
      ++*depth;
    else if (--*depth == 0)
      return static_cast<size_t>(__builtin_ctzll(lowest)) + 1;
  }
  return 64;
}

// State is ContainerScan; kLoad makes the bits of 64 bytes.
template <class State, BlockBits (*kLoad)(const char*)>
size_t scan_blocks(State& scan, const char* text, size_t at, size_t end) {
  while (at < end) {
    char tail[64];
    const char* block = text + at;
    const size_t size = end - at < sizeof tail ? end - at : sizeof tail;
    if (size < sizeof tail) {
      __builtin_memset(tail, ' ', sizeof tail);
      __builtin_memcpy(tail, block, size);
      block = tail;
    }
    const BlockBits bits = kLoad(block);
    const uint64_t escaped = escaped_bytes(bits.backslash, &scan.escaped);
    // The byte behind a short block is inside the padding: its bit says whether it is escaped.
    if (size < sizeof tail) scan.escaped = escaped >> size & 1;
    const uint64_t quote = bits.quote & ~escaped;
    const uint64_t in_string = prefix_xor(quote) ^ scan.in_string;
    scan.in_string = static_cast<uint64_t>(static_cast<int64_t>(in_string) >> 63);
    const size_t closed =
        close_in_block(bits.open & ~in_string, bits.close & ~in_string, &scan.depth);
    if (scan.depth == 0) return at + closed;
    at += sizeof tail;
  }
  return end;
}

}  // namespace
}  // namespace weir::event
