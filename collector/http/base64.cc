#include "collector/http/base64.h"

#include <array>
#include <cstdint>

#include "collector/http/exchange.h"

namespace weir::http {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<uint8_t, 256> make_decode_table() {
  std::array<uint8_t, 256> table{};
  for (auto& entry : table) entry = 0xff;
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    table[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  table[static_cast<uint8_t>('-')] = 62;
  table[static_cast<uint8_t>('_')] = 63;
  return table;
}
constexpr std::array<uint8_t, 256> kDecode = make_decode_table();

// The credentials after "<scheme> ", or false for another scheme.
bool after_scheme(std::string_view value, std::string_view scheme, std::string_view& rest) {
  if (value.size() <= scheme.size() || value[scheme.size()] != ' ' ||
      !header_is(value.substr(0, scheme.size()), scheme))
    return false;
  rest = value.substr(scheme.size());
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  while (!rest.empty() && rest.back() == ' ') rest.remove_suffix(1);
  return !rest.empty();
}

}  // namespace

bool base64_decode(std::string_view text, std::string& out) {
  size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  if (text.size() % 4 == 1) return false;
  if (padding != 0 && (text.size() + padding) % 4 != 0) return false;
  const size_t before = out.size();
  out.reserve(before + text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const uint8_t value = kDecode[static_cast<uint8_t>(c)];
    if (value == 0xff) {
      out.resize(before);
      return false;
    }
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xff));
    }
  }
  return true;
}

void append_base64(std::string& out, std::string_view bytes) {
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = bytes.size() - i < 3 ? bytes.size() - i : 3;
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < have ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      out.push_back(k <= have ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=');
  }
}

bool parse_basic_auth(std::string_view authorization, BasicCredentials& credentials) {
  std::string_view encoded;
  if (!after_scheme(authorization, "basic", encoded)) return false;
  std::string decoded;
  if (!base64_decode(encoded, decoded)) return false;
  const size_t colon = decoded.find(':');
  credentials.password = colon == std::string::npos ? std::string{} : decoded.substr(colon + 1);
  decoded.resize(colon == std::string::npos ? decoded.size() : colon);
  credentials.user = std::move(decoded);
  return true;
}

bool parse_bearer_auth(std::string_view authorization, std::string_view& token) {
  return after_scheme(authorization, "bearer", token);
}

}  // namespace weir::http
