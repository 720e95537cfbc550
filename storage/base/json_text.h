// Writing JSON text: the one escaping function every writer of JSON in Weir uses.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// Appends text as a JSON string with its quotes (RFC 8259 section 7). Invalid UTF-8 becomes U+FFFD,
// and U+2028/2029, DEL and C1 controls are escaped, so the result is safe in logs and scripts too.
void append_json_string(std::string& out, std::string_view text);

}  // namespace weir
