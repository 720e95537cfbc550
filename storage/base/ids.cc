#include "storage/base/ids.h"

#include <sys/random.h>

#include <cerrno>
#include <charconv>

#include "storage/base/check.h"

namespace weir {

void fill_random(void* to, size_t size) {
  auto* bytes = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = getrandom(bytes, size, 0);
    if (got < 0 && errno == EINTR) continue;
    WEIR_CHECK(got > 0, "getrandom failed with errno {}", errno);
    bytes += got;
    size -= static_cast<size_t>(got);
  }
}

StoreId StoreId::generate() {
  StoreId id;
  fill_random(id.bytes.data(), id.bytes.size());
  id.bytes[6] = static_cast<unsigned char>((id.bytes[6] & 0x0f) | 0x40);  // version 4
  id.bytes[8] = static_cast<unsigned char>((id.bytes[8] & 0x3f) | 0x80);  // RFC variant
  return id;
}

std::string StoreId::text() const {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
    out.push_back(kHex[bytes[i] >> 4]);
    out.push_back(kHex[bytes[i] & 15]);
  }
  return out;
}

Result<StoreId> StoreId::parse(std::string_view text) {
  StoreId id;
  size_t nibble = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-' && (i == 8 || i == 13 || i == 18 || i == 23)) continue;
    int value = -1;
    if (c >= '0' && c <= '9') value = c - '0';
    if (c >= 'a' && c <= 'f') value = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') value = c - 'A' + 10;
    if (value < 0 || nibble >= 32)
      return fail(ErrorCode::kInvalidArgument, "\"{}\" is not a store id (UUID)", text);
    auto& byte = id.bytes[nibble / 2];
    byte = static_cast<unsigned char>(byte << 4 | value);
    ++nibble;
  }
  if (nibble != 32 || text.size() != 36)
    return fail(ErrorCode::kInvalidArgument, "\"{}\" is not a store id (UUID)", text);
  return id;
}

std::string Position::text() const { return fmt::format("{}-{}", shard, number); }

Result<Position> Position::parse(std::string_view text) {
  Position position;
  const char* const end = text.data() + text.size();
  auto shard = std::from_chars(text.data(), end, position.shard);
  if (shard.ec == std::errc() && shard.ptr != end && *shard.ptr == '-') {
    auto number = std::from_chars(shard.ptr + 1, end, position.number);
    if (number.ec == std::errc() && number.ptr == end) return position;
  }
  return fail(ErrorCode::kInvalidArgument,
              "\"{}\" is not a position; expected <store shard>-<number>, for example 0-17", text);
}

}  // namespace weir
