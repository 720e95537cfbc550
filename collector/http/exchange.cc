#include "collector/http/exchange.h"

#include "storage/base/bytes.h"
#include "storage/base/json_text.h"

namespace weir::http {
namespace {

// Whether Size bytes are the same but for the case of letters. A letter of `lower_case` (bit 0x40)
// may differ in bit 0x20 from what was received, nothing else may differ at all.
template <class Block>
bool same_block(const char* received, const char* lower_case) {
  constexpr auto kLetter = static_cast<Block>(0x4040404040404040u);
  const auto wanted = load_le<Block>(lower_case);
  const auto differs = static_cast<Block>(load_le<Block>(received) ^ wanted);
  return (differs & ~((wanted & kLetter) >> 1)) == 0;
}

const Header* find_header(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers)
    if (header_is(header.name, name)) return &header;
  return nullptr;
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
  const Header* found = find_header(headers, name);
  return found == nullptr ? std::string_view{} : found->value;
}

bool Request::has_header(std::string_view name) const {
  return find_header(headers, name) != nullptr;
}

// The last two blocks may overlap.
bool header_is(std::string_view name, std::string_view lower_case_name) {
  const size_t size = lower_case_name.size();
  if (name.size() != size) return false;
  const char* const a = name.data();
  const char* const b = lower_case_name.data();
  if (size >= 8) {
    size_t at = 0;
    for (; at + 8 <= size; at += 8)
      if (!same_block<uint64_t>(a + at, b + at)) return false;
    return same_block<uint64_t>(a + size - 8, b + size - 8);
  }
  if (size >= 4)
    return same_block<uint32_t>(a, b) && same_block<uint32_t>(a + size - 4, b + size - 4);
  for (size_t at = 0; at < size; ++at)
    if (!same_block<uint8_t>(a + at, b + at)) return false;
  return true;
}

std::string error_body(std::string_view code, std::string_view message) {
  std::string body = "{\"success\":false,\"code\":";
  append_json_string(body, code);
  body += ",\"message\":";
  append_json_string(body, message);
  body += ",\"detail\":";
  append_json_string(body, message);
  body += ",\"error\":";
  append_json_string(body, code);
  body += '}';
  return body;
}

std::string Handler::shape_error(const Request&, const HttpError& error) {
  return error_body(error.code, error.message);
}

}  // namespace weir::http
