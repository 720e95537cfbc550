// Base64 (RFC 4648) and the two kinds of Authorization header Weir understands.
// Path: warm.  Thread: any; nothing here has state.
#pragma once

#include <string>
#include <string_view>

namespace weir::http {

// Appends the decoded bytes. Accepts both alphabets (section 4 and 5) and missing padding, because
// SDKs send all four combinations. False, with out unchanged, on any other byte, on padding in the
// middle, and on a length no encoder produces.
bool base64_decode(std::string_view text, std::string& out);
// Appends the standard alphabet with padding.
void append_base64(std::string& out, std::string_view bytes);

struct BasicCredentials {
  std::string user;
  std::string password;  // empty when there is no colon
};
// Authorization: Basic … (RFC 7617); the scheme's case does not matter. False when the value is
// another scheme or malformed.
bool parse_basic_auth(std::string_view authorization, BasicCredentials& credentials);
// Authorization: Bearer … (RFC 6750 section 2.1). LIFETIME: token is a view into authorization.
bool parse_bearer_auth(std::string_view authorization, std::string_view& token);

}  // namespace weir::http
