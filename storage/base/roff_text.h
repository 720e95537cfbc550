// Writing manual pages: the one escaping function every page Weir makes uses.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// Text for a line of running text or a macro's argument in quotes (groff_man(7)): nothing in it is
// taken for a request, an escape or a hyphen to break at.
std::string roff_text(std::string_view text);

}  // namespace weir
