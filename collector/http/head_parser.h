// From the raw bytes of one complete head to a Request and the facts about its body. llhttp splits
// the lines; everything that decides framing is checked here over the raw bytes again, so what is
// accepted does not depend on how lenient the installed llhttp is (8.1 on Debian 12, 9 on 13).
// Path: hot (per request).  Thread: the loop's; one parser per loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "collector/http/exchange.h"
#include "collector/http/refusal.h"
#include "collector/http/server.h"

namespace weir::http {

enum class Coding : uint8_t { kIdentity, kGzip, kDeflate, kZstd };

// What the head says beyond Request. LIFETIME: views into the head's bytes.
struct HeadFacts {
  uint64_t content_length = 0;
  bool has_content_length = false;
  bool chunked = false;
  bool keep_alive = true;
  bool expect_continue = false;
  bool expect_unknown = false;      // 417
  bool coding_unsupported = false;  // 415
  Coding coding = Coding::kIdentity;
  bool has_origin = false;
  std::string_view origin;
};

class HeadParser {
 public:
  HeadParser();
  ~HeadParser();

  // head: checked by a HeadScanner, without its leading empty line, with its final one; lines: as
  // the scanner counted them. Fills request (headers are replaced, client_ip and body untouched)
  // and facts. Null, or why the head is refused; request then holds what was read so far.
  // LIFETIME: request and facts point into head.
  const Refusal* parse(std::string_view head, size_t lines, const Limits& limits, Request& request,
                       HeadFacts& facts);

  // Best effort for error answers: method, target, path and query of a head that is incomplete.
  static void parse_request_line_of(std::string_view head, Request& request);

 private:
  struct Llhttp;
  std::unique_ptr<Llhttp> llhttp_;
};

// Exposed for tests. A Host header's value, or the authority of an absolute target.
bool is_valid_host(std::string_view host);
// Decimal digits only, below 2^63.
bool parse_content_length(std::string_view text, uint64_t& value);

}  // namespace weir::http
