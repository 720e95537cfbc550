#include "collector/http/exchange.h"

#include "storage/base/json_text.h"

namespace weir::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

const Header* find_header(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers)
    if (equal_ignoring_case(header.name, name)) return &header;
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

bool header_is(std::string_view name, std::string_view lower_case_name) {
  if (name.size() != lower_case_name.size()) return false;
  for (size_t i = 0; i < name.size(); ++i)
    if (lower(name[i]) != lower_case_name[i]) return false;
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
