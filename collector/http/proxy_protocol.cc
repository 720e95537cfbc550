#include "collector/http/proxy_protocol.h"

#include <algorithm>
#include <charconv>

#include "storage/base/bytes.h"

namespace weir::http {
namespace {

constexpr std::string_view kSignatureV2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::string_view kSignatureV1 = "PROXY ";
constexpr size_t kMaxV1Bytes = 107;  // with CR LF

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The next word; words are separated by exactly one space.
std::string_view take_word(std::string_view& line) {
  const size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  line = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
  return word;
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && stop == text.data() + text.size() && port <= 65'535;
}

ProxyHeaderState parse_v1(std::string_view bytes, ProxyHeader& header) {
  const size_t end = bytes.substr(0, kMaxV1Bytes).find('\n');
  if (end == std::string_view::npos)
    return bytes.size() >= kMaxV1Bytes ? ProxyHeaderState::kInvalid : ProxyHeaderState::kIncomplete;
  if (bytes[end - 1] != '\r') return ProxyHeaderState::kInvalid;
  std::string_view line = bytes.substr(0, end - 1);
  line.remove_prefix(kSignatureV1.size());
  header.bytes = end + 1;
  const std::string_view family = take_word(line);
  if (family == "UNKNOWN") return ProxyHeaderState::kComplete;
  if (family != "TCP4" && family != "TCP6") return ProxyHeaderState::kInvalid;
  const std::string_view source = take_word(line);
  IpAddress destination;
  if (!IpAddress::parse(source, header.address) ||
      !IpAddress::parse(take_word(line), destination) ||
      (source.find(':') == std::string_view::npos) != (family == "TCP4"))
    return ProxyHeaderState::kInvalid;
  const std::string_view source_port = take_word(line);
  if (!is_port(source_port) || !is_port(line)) return ProxyHeaderState::kInvalid;
  header.has_address = true;
  return ProxyHeaderState::kComplete;
}

ProxyHeaderState parse_v2(std::string_view bytes, ProxyHeader& header) {
  constexpr size_t kFixed = 16;
  if (bytes.size() < kFixed) return ProxyHeaderState::kIncomplete;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned version = byte(12) >> 4;
  const unsigned command = byte(12) & 0x0f;
  const unsigned family = byte(13) >> 4;
  const size_t length = static_cast<size_t>(byte(14) << 8 | byte(15));
  if (version != 2 || command > 1 || family > 3 || (byte(13) & 0x0f) > 2 ||
      kFixed + length > kMaxProxyHeaderBytes)
    return ProxyHeaderState::kInvalid;
  if (bytes.size() < kFixed + length) return ProxyHeaderState::kIncomplete;
  header.bytes = kFixed + length;
  if (command == 0) return ProxyHeaderState::kComplete;  // LOCAL: the proxy's own health check
  if (family == 1) {
    if (length < 12) return ProxyHeaderState::kInvalid;
    header.address.bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    for (size_t i = 0; i < 4; ++i) header.address.bytes[12 + i] = byte(kFixed + i);
    header.has_address = true;
  } else if (family == 2) {
    if (length < 36) return ProxyHeaderState::kInvalid;
    for (size_t i = 0; i < 16; ++i) header.address.bytes[i] = byte(kFixed + i);
    header.has_address = true;
  }
  return ProxyHeaderState::kComplete;
}

// "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1".
bool parse_node(std::string_view node, IpAddress& address) {
  node = trimmed(node);
  if (!node.empty() && node.front() == '[') {
    const size_t end = node.find(']');
    return end != std::string_view::npos && IpAddress::parse(node.substr(1, end - 1), address);
  }
  if (std::count(node.begin(), node.end(), ':') == 1) node = node.substr(0, node.find(':'));
  return IpAddress::parse(node, address);
}

// The for= parameter of one Forwarded element.
std::string_view for_parameter(std::string_view element) {
  while (!element.empty()) {
    const size_t semicolon = element.find(';');
    const std::string_view pair = trimmed(element.substr(0, semicolon));
    element =
        semicolon == std::string_view::npos ? std::string_view{} : element.substr(semicolon + 1);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos || !header_is(pair.substr(0, equals), "for")) continue;
    std::string_view value = trimmed(pair.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    return value;
  }
  return {};
}

// Walks one list from its right end. Returns false when the walk is over.
bool walk_from_right(std::string_view list, bool forwarded, const IpRanges& trusted,
                     IpAddress& client, bool& found) {
  for (;;) {
    const size_t comma = list.rfind(',');
    const std::string_view element =
        comma == std::string_view::npos ? list : list.substr(comma + 1);
    IpAddress address;
    if (!parse_node(forwarded ? for_parameter(element) : element, address)) return false;
    client = address;
    found = true;
    if (!trusted.contains(address)) return false;
    if (comma == std::string_view::npos) return true;
    list = list.substr(0, comma);
  }
}

}  // namespace

ProxyHeaderState parse_proxy_header(std::string_view bytes, ProxyHeader& header) {
  header = ProxyHeader{};
  if (bytes.empty()) return ProxyHeaderState::kIncomplete;
  const std::string_view signature = bytes.front() == 'P' ? kSignatureV1 : kSignatureV2;
  const size_t compared = std::min(bytes.size(), signature.size());
  if (bytes.substr(0, compared) != signature.substr(0, compared)) return ProxyHeaderState::kInvalid;
  if (compared < signature.size()) return ProxyHeaderState::kIncomplete;
  return bytes.front() == 'P' ? parse_v1(bytes, header) : parse_v2(bytes, header);
}

bool forwarded_client(const Request& request, const IpRanges& trusted, IpAddress& client) {
  const bool by_list = request.has_header("x-forwarded-for");
  const std::string_view name = by_list ? "x-forwarded-for" : "forwarded";
  bool found = false;
  // Several lines of one header are one list (RFC 9110 section 5.3): the last line is its right
  // end.
  for (auto header = request.headers.rbegin(); header != request.headers.rend(); ++header)
    if (header_is(header->name, name) &&
        !walk_from_right(header->value, !by_list, trusted, client, found))
      break;
  return found;
}

}  // namespace weir::http
