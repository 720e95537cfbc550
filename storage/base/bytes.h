// Little-endian loads and stores, varints, and a growable byte string. Everything Weir writes to
// disk goes through these, so files are portable between machines.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace weir {

static_assert(std::endian::native == std::endian::little,
              "loads and stores below copy bytes unchanged; a big-endian port must swap them");

template <class T>
T load_le(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
void store_le(char* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

template <class T>
void append_le(std::string& out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  store_le(out.data() + at, value);
}

// LEB128: seven bits a byte, least significant first, at most ten bytes.
inline void append_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

inline size_t varint_size(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

// Reads from a byte string that may be damaged: after the first read past the end every further
// read answers zero/empty and ok() is false, so a decoder checks once, at its end.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <class T>
  T le() {
    if (rest_.size() < sizeof(T)) return fail_read<T>();
    T value = load_le<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return value;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return fail_read<uint64_t>();
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift == 63 && byte > 1) return fail_read<uint64_t>();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail_read<uint64_t>();
  }

  std::string_view bytes(uint64_t size) {
    if (rest_.size() < size) return fail_read<std::string_view>();
    std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  // A varint length followed by that many bytes.
  std::string_view sized_bytes() { return bytes(varint()); }

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  template <class T>
  T fail_read() {
    ok_ = false;
    rest_ = {};
    return T{};
  }

  std::string_view rest_;
  bool ok_ = true;
};

inline void append_sized_bytes(std::string& out, std::string_view bytes) {
  append_varint(out, bytes.size());
  out.append(bytes);
}

}  // namespace weir
