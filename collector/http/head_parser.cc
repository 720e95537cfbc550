#include "collector/http/head_parser.h"

#include <llhttp.h>

#include "collector/http/head_scanner.h"
#include "collector/http/query.h"

namespace weir::http {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Splits target into path and query and rewrites absolute form to origin form (RFC 9112 3.2.2).
const Refusal* parse_target(std::string_view target, Method method, Request& request) {
  for (const char c : target)
    if (c == '#' || c == '\t') return &refusal::kTarget;
  if (target == "*") {
    if (method != Method::kOptions) return &refusal::kTarget;
    request.target = request.path = target;
    request.query = {};
    return nullptr;
  }
  if (target.front() != '/') {
    const size_t scheme_end = target.find("://");
    if (scheme_end == std::string_view::npos) return &refusal::kTarget;
    const std::string_view scheme = target.substr(0, scheme_end);
    if (!header_is(scheme, "http") && !header_is(scheme, "https")) return &refusal::kTarget;
    std::string_view rest = target.substr(scheme_end + 3);
    const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
    if (!is_valid_host(rest.substr(0, authority_end))) return &refusal::kHostInvalid;
    target = rest.substr(authority_end);
  }
  request.target = target;
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  request.query =
      question == std::string_view::npos ? std::string_view{} : target.substr(question + 1);
  if (request.path.empty()) request.path = "/";
  if (request.target.empty()) request.target = "/";
  return nullptr;
}

// Method SP target SP HTTP/d.d, each separated by exactly one space.
const Refusal* parse_request_line(std::string_view line, Request& request) {
  const size_t method_end = line.find(' ');
  if (method_end == std::string_view::npos) return &refusal::kRequestLine;
  const std::string_view method = line.substr(0, method_end);
  line.remove_prefix(method_end + 1);
  const size_t target_end = line.find(' ');
  if (!is_token(method) || target_end == std::string_view::npos || target_end == 0)
    return &refusal::kRequestLine;
  const std::string_view target = line.substr(0, target_end);
  const std::string_view version = line.substr(target_end + 1);
  if (version.size() != 8 || version.substr(0, 5) != "HTTP/" || !is_digit(version[5]) ||
      version[6] != '.' || !is_digit(version[7]))
    return &refusal::kRequestLine;
  if (version[5] != '1' || version[7] > '1') return &refusal::kVersion;
  request.minor_version = static_cast<uint8_t>(version[7] - '0');
  request.method = method_from_token(method);
  if (request.method == Method::kOther) {
    for (const std::string_view known : {"CONNECT", "TRACE", "PROPFIND", "MKCOL", "COPY", "MOVE",
                                         "LOCK", "UNLOCK", "SEARCH", "REPORT", "LINK", "UNLINK"})
      if (method == known) return &refusal::kMethodNotAllowed;
    return &refusal::kMethodUnknown;
  }
  return parse_target(target, request.method, request);
}

void parse_connection(std::string_view value, bool& close, bool& keep_alive) {
  while (!value.empty()) {
    const size_t comma = value.find(',');
    const std::string_view option = trimmed(value.substr(0, comma));
    if (header_is(option, "close")) close = true;
    if (header_is(option, "keep-alive")) keep_alive = true;
    value = comma == std::string_view::npos ? std::string_view{} : value.substr(comma + 1);
  }
}

bool parse_coding(std::string_view value, Coding& coding) {
  if (value.empty() || header_is(value, "identity"))
    coding = Coding::kIdentity;
  else if (header_is(value, "gzip") || header_is(value, "x-gzip"))
    coding = Coding::kGzip;
  else if (header_is(value, "deflate"))
    coding = Coding::kDeflate;
  else if (header_is(value, "zstd"))
    coding = Coding::kZstd;
  else
    return false;
  return true;
}

// Collects what several headers say together, then judges it.
class HeaderJudge {
 public:
  HeaderJudge(Request& request, HeadFacts& facts) : request_(request), facts_(facts) {}

  const Refusal* see(const Header& header) {
    switch (header.name.size()) {  // so that most headers cost one comparison of a number
      case 4:
        if (header_is(header.name, "host")) return see_host(header.value);
        break;
      case 6:
        if (header_is(header.name, "expect")) see_expect(header.value);
        if (header_is(header.name, "origin")) {
          // Two origins cannot both be echoed; an unprintable one must not be.
          facts_.origin = facts_.has_origin ? std::string_view{} : header.value;
          facts_.has_origin = true;
        }
        break;
      case 9:
        if (header_is(header.name, "forwarded") || header_is(header.name, "x-real-ip"))
          request_.forwarding_header_present = true;
        break;
      case 10:
        if (header_is(header.name, "connection"))
          parse_connection(header.value, close_, keep_alive_);
        break;
      case 14:
        if (header_is(header.name, "content-length")) return see_length(header.value);
        break;
      case 15:
        if (header_is(header.name, "x-forwarded-for")) request_.forwarding_header_present = true;
        break;
      case 16:
        if (header_is(header.name, "content-encoding")) {
          if (coding_seen_ || !parse_coding(header.value, facts_.coding))
            facts_.coding_unsupported = true;
          coding_seen_ = true;
        }
        break;
      case 17:
        if (header_is(header.name, "transfer-encoding")) return see_transfer(header.value);
        break;
      default:
        break;
    }
    return nullptr;
  }

  const Refusal* judge() {
    const bool http11 = request_.minor_version == 1;
    if (!host_seen_ && http11) return &refusal::kHostMissing;
    if (facts_.chunked && facts_.has_content_length) return &refusal::kLengthAndChunked;
    if (facts_.chunked && !http11) return &refusal::kTransferEncoding10;
    const bool usually_has_body = request_.method == Method::kPost ||
                                  request_.method == Method::kPut ||
                                  request_.method == Method::kPatch;
    if (usually_has_body && !http11 && !facts_.has_content_length) return &refusal::kLengthRequired;
    facts_.keep_alive = !close_ && (http11 || keep_alive_);
    if (!http11) facts_.expect_continue = facts_.expect_unknown = false;  // RFC 9110 10.1.1
    return nullptr;
  }

 private:
  const Refusal* see_host(std::string_view value) {
    if (host_seen_) return &refusal::kHostDuplicate;
    host_seen_ = true;
    return is_valid_host(value) ? nullptr : &refusal::kHostInvalid;
  }

  void see_expect(std::string_view value) {
    if (header_is(value, "100-continue"))
      facts_.expect_continue = true;
    else
      facts_.expect_unknown = true;
  }

  const Refusal* see_length(std::string_view value) {
    if (facts_.has_content_length) return &refusal::kLengthDuplicate;
    facts_.has_content_length = true;
    return parse_content_length(value, facts_.content_length) ? nullptr : &refusal::kLengthInvalid;
  }

  const Refusal* see_transfer(std::string_view value) {
    if (facts_.chunked || !header_is(value, "chunked")) return &refusal::kTransferEncoding;
    facts_.chunked = true;
    return nullptr;
  }

  Request& request_;
  HeadFacts& facts_;
  bool host_seen_ = false;
  bool coding_seen_ = false;
  bool close_ = false;
  bool keep_alive_ = false;
};

// Why llhttp stopped, found by the checks of this file, so that the answer does not depend on its
// version. Cold.
const Refusal* diagnose(std::string_view head, Request& request, HeadFacts& facts) {
  HeaderJudge judge(request, facts);
  head.remove_prefix(head.find("\r\n") + 2);
  for (size_t end = head.find("\r\n"); end != 0 && end != std::string_view::npos;
       end = head.find("\r\n")) {
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return &refusal::kHeaderLine;
    const Header header{line.substr(0, colon), trimmed(line.substr(colon + 1))};
    if (!is_token(header.name)) return &refusal::kHeaderName;
    if (const Refusal* refused = judge.see(header)) return refused;
  }
  const Refusal* const refused = judge.judge();
  return refused != nullptr ? refused : &refusal::kHeaderLine;
}

}  // namespace

bool parse_content_length(std::string_view text, uint64_t& value) {
  if (text.empty() || text.size() > 18) return false;
  value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return false;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return true;
}

bool is_valid_host(std::string_view host) {
  std::string_view port;
  if (!host.empty() && host.front() == '[') {
    const size_t end = host.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    for (const char c : host.substr(1, end - 1))
      if (!is_hex(c) && c != ':' && c != '.') return false;
    port = host.substr(end + 1);
    if (!port.empty() && port.front() != ':') return false;
  } else {
    const size_t colon = std::min(host.find(':'), host.size());
    if (colon == 0) return false;
    for (const char c : host.substr(0, colon))
      if (!is_alpha(c) && !is_digit(c) &&
          std::string_view("-._~%!$&'()*+,;=").find(c) == std::string_view::npos)
        return false;
    port = host.substr(colon);
  }
  if (port.empty()) return true;
  port.remove_prefix(1);
  if (port.size() > 5) return false;
  for (const char c : port)
    if (!is_digit(c)) return false;
  return true;
}

struct HeadParser::Llhttp {
  llhttp_t parser{};
  llhttp_settings_t settings{};
  Request* request = nullptr;
  size_t header_limit = 0;
  bool in_value = false;
  bool split = false;  // a name or value came in two pieces that do not touch: not a plain line
  bool too_many = false;
  bool complete = false;

  static Llhttp& of(llhttp_t* parser) { return *static_cast<Llhttp*>(parser->data); }

  // Appends a span to `text`; llhttp may deliver adjoining pieces.
  void extend(std::string_view& text, const char* at, size_t size) {
    if (text.data() == nullptr)
      text = {at, size};
    else if (text.data() + text.size() == at)
      text = {text.data(), text.size() + size};
    else
      split = true;
  }

  static int on_field(llhttp_t* parser, const char* at, size_t size) {
    Llhttp& self = of(parser);
    auto& headers = self.request->headers;
    const bool continues = !headers.empty() && !self.in_value &&
                           headers.back().name.data() + headers.back().name.size() == at;
    if (!continues) {
      if (headers.size() == self.header_limit) {
        self.too_many = true;
        return HPE_USER;
      }
      headers.push_back({});
    }
    self.in_value = false;
    self.extend(headers.back().name, at, size);
    return 0;
  }

  static int on_value(llhttp_t* parser, const char* at, size_t size) {
    Llhttp& self = of(parser);
    if (self.request->headers.empty()) return HPE_USER;
    self.in_value = true;
    self.extend(self.request->headers.back().value, at, size);
    return 0;
  }

  static int on_complete(llhttp_t* parser) {
    of(parser).complete = true;
    return HPE_PAUSED;  // bodies are not llhttp's: see chunked_decoder.h
  }
};

HeadParser::HeadParser() : llhttp_(std::make_unique<Llhttp>()) {
  llhttp_settings_init(&llhttp_->settings);
  llhttp_->settings.on_header_field = &Llhttp::on_field;
  llhttp_->settings.on_header_value = &Llhttp::on_value;
  llhttp_->settings.on_headers_complete = &Llhttp::on_complete;
}

HeadParser::~HeadParser() = default;

void HeadParser::parse_request_line_of(std::string_view head, Request& request) {
  const size_t end = head.find('\r');
  if (end == std::string_view::npos) return;
  if (parse_request_line(head.substr(0, end), request) != nullptr && request.path.empty())
    request.method = Method::kOther;
}

const Refusal* HeadParser::parse(std::string_view head, size_t lines, const Limits& limits,
                                 Request& request, HeadFacts& facts) {
  facts = HeadFacts{};
  request.headers.clear();
  request.forwarding_header_present = false;
  if (const Refusal* refused = parse_request_line(head.substr(0, head.find('\r')), request))
    return refused;
  if (lines - 1 > limits.header_count) return &refusal::kHeaderCount;

  Llhttp& llhttp = *llhttp_;
  llhttp_init(&llhttp.parser, HTTP_REQUEST, &llhttp.settings);
  llhttp.parser.data = &llhttp;
  llhttp.request = &request;
  llhttp.header_limit = limits.header_count;
  llhttp.in_value = llhttp.split = llhttp.too_many = llhttp.complete = false;
  llhttp_execute(&llhttp.parser, head.data(), head.size());
  if (llhttp.too_many) return &refusal::kHeaderCount;
  // One header per line: whatever llhttp skipped, joined or took for the head's end is refused.
  const bool whole = llhttp.complete && !llhttp.split && request.headers.size() == lines - 1;

  if (!whole) return diagnose(head, request, facts);
  HeaderJudge judge(request, facts);
  for (Header& header : request.headers) {
    // The raw byte behind the name must be its colon: llhttp tolerates spaces in loose builds.
    if (!is_token(header.name) || header.name.data()[header.name.size()] != ':')
      return &refusal::kHeaderName;
    header.value = trimmed(header.value);
    if (const Refusal* refused = judge.see(header)) return refused;
  }
  return judge.judge();
}

}  // namespace weir::http
