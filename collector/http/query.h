// Method names, percent-encoding and query strings: small pure functions that the layers above HTTP
// share. Path: hot (once or twice per request).  Thread: any; nothing here has state.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "collector/http/exchange.h"

namespace weir::http {

// Case-sensitive (RFC 9110 section 9.1). kOther: a valid token Weir does not serve.
Method method_from_token(std::string_view token);
std::string_view method_name(Method method);  // kOther: "OTHER"

// One key=value pair of a query or form; both still encoded.
struct QueryPair {
  std::string_view key;
  std::string_view value;
};

// Walks "a=1&b=2" (WHATWG URL, section 5.1): empty pieces are skipped, a piece without '=' has an
// empty value. Works on application/x-www-form-urlencoded bodies too. LIFETIME: views into text.
class QueryReader {
 public:
  explicit QueryReader(std::string_view text) : rest_(text) {}
  bool next(QueryPair& pair);

 private:
  std::string_view rest_;
};

// Appends the decoded text; '+' becomes a space. A '%' that is not followed by two hexadecimal
// digits stays as it is, as browsers do. Never fails.
void append_form_decoded(std::string& out, std::string_view text);
std::string form_decode(std::string_view text);
// The same for paths, where '+' is a plus.
void append_percent_decoded(std::string& out, std::string_view text);
std::string percent_decode(std::string_view text);

// The first value of key, which is compared decoded. Nothing when the key is absent.
std::optional<std::string> query_find(std::string_view query, std::string_view key);
// The same, empty when absent.
std::string query_value(std::string_view query, std::string_view key);
// The first value as sent: no allocation. For keys without percent-encoding (almost all).
std::optional<std::string_view> raw_query_value(std::string_view query, std::string_view key);

}  // namespace weir::http
