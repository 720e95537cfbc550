#include "collector/http/query.h"

namespace weir::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_decoded(std::string& out, std::string_view text, bool plus_is_space) {
  out.reserve(out.size() + text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (c == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
               hex_digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(c);
    }
  }
}

bool key_matches(std::string_view raw, std::string_view key) {
  if (raw == key) return true;
  if (raw.find_first_of("%+") == std::string_view::npos) return false;
  return form_decode(raw) == key;
}

}  // namespace

Method method_from_token(std::string_view token) {
  switch (token.size()) {
    case 3:
      if (token == "GET") return Method::kGet;
      if (token == "PUT") return Method::kPut;
      break;
    case 4:
      if (token == "POST") return Method::kPost;
      if (token == "HEAD") return Method::kHead;
      break;
    case 5:
      if (token == "PATCH") return Method::kPatch;
      break;
    case 6:
      if (token == "DELETE") return Method::kDelete;
      break;
    case 7:
      if (token == "OPTIONS") return Method::kOptions;
      break;
    default:
      break;
  }
  return Method::kOther;
}

std::string_view method_name(Method method) {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kHead:
      return "HEAD";
    case Method::kPost:
      return "POST";
    case Method::kPut:
      return "PUT";
    case Method::kDelete:
      return "DELETE";
    case Method::kOptions:
      return "OPTIONS";
    case Method::kPatch:
      return "PATCH";
    case Method::kOther:
      break;
  }
  return "OTHER";
}

bool QueryReader::next(QueryPair& pair) {
  while (!rest_.empty()) {
    const size_t end = rest_.find('&');
    std::string_view piece = rest_.substr(0, end);
    rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
    if (piece.empty()) continue;
    const size_t equals = piece.find('=');
    pair.key = piece.substr(0, equals);
    pair.value = equals == std::string_view::npos ? std::string_view{} : piece.substr(equals + 1);
    return true;
  }
  return false;
}

void append_form_decoded(std::string& out, std::string_view text) {
  append_decoded(out, text, true);
}

std::string form_decode(std::string_view text) {
  std::string out;
  append_decoded(out, text, true);
  return out;
}

void append_percent_decoded(std::string& out, std::string_view text) {
  append_decoded(out, text, false);
}

std::string percent_decode(std::string_view text) {
  std::string out;
  append_decoded(out, text, false);
  return out;
}

std::optional<std::string> query_find(std::string_view query, std::string_view key) {
  QueryReader reader(query);
  for (QueryPair pair; reader.next(pair);)
    if (key_matches(pair.key, key)) return form_decode(pair.value);
  return std::nullopt;
}

std::string query_value(std::string_view query, std::string_view key) {
  return query_find(query, key).value_or(std::string{});
}

std::optional<std::string_view> raw_query_value(std::string_view query, std::string_view key) {
  QueryReader reader(query);
  for (QueryPair pair; reader.next(pair);)
    if (pair.key == key) return pair.value;
  return std::nullopt;
}

}  // namespace weir::http
