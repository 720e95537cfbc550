// A URL as it may be shown, in logs, errors, the printed configuration and the dashboard: without
// what logs in.
// Thread: any; no state.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// "https://(secret)@host/in?token=(secret)": user and password before the host, and the values of
// query parameters whose name speaks of a secret (password, token, key, signature, …).
std::string url_text(std::string_view url);

}  // namespace weir
