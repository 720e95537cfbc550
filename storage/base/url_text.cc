#include "storage/base/url_text.h"

#include <algorithm>
#include <cctype>

namespace weir {
namespace {

constexpr std::string_view kHidden = "(secret)";
constexpr std::string_view kSecretWords[] = {"pass", "pwd",  "secret", "token", "key",
                                             "sig",  "auth", "cred",   "sas",   "code"};

bool speaks_of_a_secret(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::any_of(std::begin(kSecretWords), std::end(kSecretWords),
                     [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

void append_query(std::string& out, std::string_view query) {
  while (!query.empty()) {
    const std::string_view one = query.substr(0, query.find_first_of("&;#"));
    const size_t equals = one.find('=');
    if (equals != std::string_view::npos && speaks_of_a_secret(one.substr(0, equals)))
      out.append(one.substr(0, equals + 1)).append(kHidden);
    else
      out += one;
    if (one.size() < query.size()) out += query[one.size()];
    query.remove_prefix(std::min(query.size(), one.size() + 1));
  }
}

}  // namespace

std::string url_text(std::string_view url) {
  std::string out;
  const size_t scheme = url.find("://");
  size_t rest = scheme == std::string_view::npos ? 0 : scheme + 3;
  const size_t end = std::min(url.find_first_of("/?#", rest), url.size());
  const size_t at = url.substr(0, end).rfind('@');
  out = url.substr(0, rest);
  if (at != std::string_view::npos && at >= rest) {
    out += kHidden;
    rest = at;
  }
  const size_t query = std::min(url.find('?', rest), url.size());
  out += url.substr(rest, query - rest);
  if (query == url.size()) return out;
  out += '?';
  append_query(out, url.substr(query + 1));
  return out;
}

}  // namespace weir
