// What is accepted and what is refused, as raw bytes: every case is sent as a whole, byte by byte
// and at random splits, and must be answered the same each time. A refusal closes the connection
// and nothing behind it is served: a "smuggled" request must never reach the handler.
#include <gtest/gtest.h>

#include <random>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

struct Case {
  const char* name;
  std::string request;
  int status;        // of the only answer
  const char* code;  // in the error body; null: served
};

constexpr const char* kH = "Host: x\r\n";

std::string post(const std::string& headers, const std::string& body) {
  return "POST /echo HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n" + body;
}
std::string get(const std::string& headers) { return "GET / HTTP/1.1\r\n" + headers + "\r\n"; }
const std::string kSmuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

std::vector<Case> refused_cases() {
  using std::string_literals::operator""s;
  return {
      // Lengths.
      {"CL and TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400,
       "ambiguous_body_length"},
      {"TE and CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400,
       "ambiguous_body_length"},
      {"two equal CLs", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400,
       "duplicate_content_length"},
      {"two different CLs", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400,
       "duplicate_content_length"},
      {"CL list", post("Content-Length: 5, 5\r\n", "hello"), 400, "invalid_content_length"},
      {"empty CL", post("Content-Length: \r\n", ""), 400, "invalid_content_length"},
      {"signed CL", post("Content-Length: +5\r\n", "hello"), 400, "invalid_content_length"},
      {"negative CL", post("Content-Length: -5\r\n", "hello"), 400, "invalid_content_length"},
      {"hex CL", post("Content-Length: 0x5\r\n", "hello"), 400, "invalid_content_length"},
      {"CL with inner space", post("Content-Length: 5 5\r\n", "hello"), 400,
       "invalid_content_length"},
      {"CL past 64 bit", post("Content-Length: 18446744073709551621\r\n", "hello"), 400,
       "invalid_content_length"},
      {"CL underscore", post("Content_Length: 5\r\nContent-Length: 5,\r\n", "hello"), 400,
       "invalid_content_length"},
      {"TE other", post("Transfer-Encoding: gzip\r\n", "x"), 400, "invalid_transfer_encoding"},
      {"TE gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400,
       "invalid_transfer_encoding"},
      {"TE chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 400,
       "invalid_transfer_encoding"},
      {"TE chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 400,
       "invalid_transfer_encoding"},
      {"two TE lines",
       post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400,
       "invalid_transfer_encoding"},
      {"TE xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400,
       "invalid_transfer_encoding"},
      {"TE quoted", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), 400,
       "invalid_transfer_encoding"},
      {"TE vertical tab",
       post("Transfer-Encoding: \x0b"
            "chunked\r\n",
            "0\r\n\r\n"),
       400, "control_character"},
      {"TE empty", post("Transfer-Encoding:\r\n", "0\r\n\r\n"), 400, "invalid_transfer_encoding"},
      {"TE in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
       "invalid_transfer_encoding"},
      {"1.0 POST without length", "POST / HTTP/1.0\r\n\r\n", 411, "length_required"},
      // Lines.
      {"space before colon", get("Host: x\r\nContent-Length : 5\r\n"), 400, "invalid_header_name"},
      {"tab before colon", get("Host: x\r\nContent-Length\t: 5\r\n"), 400, "invalid_header_name"},
      {"empty header name", get("Host: x\r\n: y\r\n"), 400, "invalid_header_name"},
      {"header without colon", get("Host: x\r\nnonsense\r\n"), 400, "invalid_header"},
      {"name with space", get("Host: x\r\na b: c\r\n"), 400, "invalid_header_name"},
      {"name with high byte", get("Host: x\r\n\xc3\xa9: c\r\n"), 400, "invalid_header_name"},
      {"obs-fold", get("Host: x\r\nA: b\r\n c\r\n"), 400, "obsolete_line_folding"},
      {"obs-fold with tab", get("Host: x\r\nA: b\r\n\tc\r\n"), 400, "obsolete_line_folding"},
      {"fold before the first header", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400,
       "obsolete_line_folding"},
      {"bare LF", "GET / HTTP/1.1\nHost: x\n\n", 400, "bare_line_feed"},
      {"bare LF between headers", "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400, "bare_line_feed"},
      {"bare LF at the end", "GET / HTTP/1.1\r\nHost: x\r\n\n", 400, "bare_line_feed"},
      {"bare CR in a value", get("Host: x\r\nA: b\rc\r\n"), 400, "bare_carriage_return"},
      {"bare CR as line end", "GET / HTTP/1.1\rHost: x\r\r", 400, "bare_carriage_return"},
      {"CR CR LF", "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", 400, "bare_carriage_return"},
      {"NUL in a value", get("Host: x\r\nA: b\0c\r\n"s), 400, "control_character"},
      {"NUL in a name", get("Host: x\r\nA\0: b\r\n"s), 400, "control_character"},
      {"DEL in a value", get("Host: x\r\nA: b\x7f\r\n"), 400, "control_character"},
      {"escape in a value", get("Host: x\r\nA: \x1b[31m\r\n"), 400, "control_character"},
      {"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400, "control_character"},
      {"two empty lines first", "\r\n\r\n" + get(kH), 400, "invalid_request_line"},
      // Request line.
      {"no version", "GET /\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"space behind version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"tab separator", "GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"leading space", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"lower-case protocol", "GET / http/1.1\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"two-digit version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"method with a bracket", "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_request_line"},
      {"lower-case method", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 501, "unknown_method"},
      {"unknown method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501, "unknown_method"},
      {"TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
      {"CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"},
      {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505, "http_version_not_supported"},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505, "http_version_not_supported"},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_target"},
      {"relative target", "GET a/b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_target"},
      {"asterisk for GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_target"},
      {"ftp target", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_target"},
      {"target with userinfo", "GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_host"},
      {"control in target", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "control_character"},
      // Host.
      {"no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400, "missing_host"},
      {"no headers", "GET / HTTP/1.1\r\n\r\n", 400, "missing_host"},
      {"two Hosts", get("Host: x\r\nHost: x\r\n"), 400, "duplicate_host"},
      {"two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400, "duplicate_host"},
      {"empty Host", get("Host:\r\n"), 400, "invalid_host"},
      {"Host with path", get("Host: x/y\r\n"), 400, "invalid_host"},
      {"Host with space", get("Host: x y\r\n"), 400, "invalid_host"},
      {"Host with userinfo", get("Host: u@x\r\n"), 400, "invalid_host"},
      {"Host with bad port", get("Host: x:8o\r\n"), 400, "invalid_host"},
      {"Host with two ports", get("Host: x:1:2\r\n"), 400, "invalid_host"},
      {"Host with open bracket", get("Host: [::1\r\n"), 400, "invalid_host"},
      // Chunks.
      {"no chunk size", post("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n"), 400,
       "invalid_chunk_size"},
      {"chunk size g", post("Transfer-Encoding: chunked\r\n", "g\r\nhello\r\n0\r\n\r\n"), 400,
       "invalid_chunk_size"},
      {"chunk size 0x5", post("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"), 400,
       "invalid_chunk_size"},
      {"chunk size -5", post("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"), 400,
       "invalid_chunk_size"},
      {"chunk size +5", post("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"), 400,
       "invalid_chunk_size"},
      {"space before the size", post("Transfer-Encoding: chunked\r\n", " 5\r\nhello\r\n"), 400,
       "invalid_chunk_size"},
      {"space behind the size", post("Transfer-Encoding: chunked\r\n", "5 \r\nhello\r\n"), 400,
       "invalid_chunk_size"},
      {"size overflow", post("Transfer-Encoding: chunked\r\n", "10000000000000005\r\nhello\r\n"),
       400, "invalid_chunk_size"},
      {"seventeen zeros", post("Transfer-Encoding: chunked\r\n", "00000000000000005\r\nhello\r\n"),
       400, "invalid_chunk_size"},
      {"bare LF behind the size", post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
       400, "invalid_chunk_size"},
      {"CR without LF behind the size", post("Transfer-Encoding: chunked\r\n", "5\rhello\r\n"), 400,
       "invalid_chunk_size"},
      {"LF in an extension", post("Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n"), 400,
       "invalid_chunk_extension"},
      {"NUL in an extension", post("Transfer-Encoding: chunked\r\n", "5;a\0b\r\nhello\r\n"s), 400,
       "invalid_chunk_extension"},
      {"CR in an extension", post("Transfer-Encoding: chunked\r\n", "5;a\rb\r\nhello\r\n"), 400,
       "invalid_chunk_size"},
      {"extension without semicolon", post("Transfer-Encoding: chunked\r\n", "5 a\r\nhello\r\n"),
       400, "invalid_chunk_size"},
      {"oversized extension",
       post("Transfer-Encoding: chunked\r\n", "5;" + std::string(5000, 'e') + "\r\nhello\r\n"), 400,
       "chunk_extension_too_large"},
      {"chunk too long for its size",
       post("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"), 400, "invalid_chunk_end"},
      {"bare LF behind the data", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n"),
       400, "invalid_chunk_end"},
      {"trailer without colon", post("Transfer-Encoding: chunked\r\n", "0\r\nnonsense\r\n\r\n"),
       400, "invalid_trailer"},
      {"trailer without name", post("Transfer-Encoding: chunked\r\n", "0\r\n: x\r\n\r\n"), 400,
       "invalid_trailer"},
      {"folded trailer", post("Transfer-Encoding: chunked\r\n", "0\r\na: b\r\n c\r\n\r\n"), 400,
       "invalid_trailer"},
      {"bare LF in trailers", post("Transfer-Encoding: chunked\r\n", "0\r\na: b\n\r\n"), 400,
       "invalid_trailer"},
      {"bare LF behind the last chunk", post("Transfer-Encoding: chunked\r\n", "0\r\n\n"), 400,
       "invalid_trailer"},
  };
}

void check_refused(const Case& test, const std::string& bytes, size_t seed) {
  Harness harness;
  FakeStream& client = harness.connect();
  if (seed == 0) {
    harness.send(client, bytes);
  } else if (seed == 1) {
    harness.send_in_pieces(client, bytes, 1);
  } else {
    std::mt19937 random(static_cast<unsigned>(seed));
    for (size_t at = 0; at < bytes.size();) {
      const size_t piece = 1 + random() % 40;
      harness.send(client, std::string_view(bytes).substr(at, piece));
      at += piece;
    }
  }
  SCOPED_TRACE(std::string(test.name) + ", split " + std::to_string(seed));
  EXPECT_EQ(status_of(client.output), test.status) << client.output;
  EXPECT_EQ(count_of(client.output, "Content-Length: "), 1u) << client.output;
  EXPECT_NE(client.output.find("\"code\":\"" + std::string(test.code) + "\""), std::string::npos)
      << client.output;
  EXPECT_EQ(header_of(client.output, "Connection"), "close");
  EXPECT_TRUE(client.write_shut || client.closed) << "the connection must end";
  EXPECT_TRUE(harness.handler.seen.empty()) << "nothing may be served";
  EXPECT_EQ(harness.metric(Metric::kHttpErrors, {test.code}), 1);
}

TEST(Framing, AmbiguousOrMalformedRequestsAreRefusedAndNothingBehindThemIsServed) {
  for (const Case& test : refused_cases())
    for (size_t seed = 0; seed < 8; ++seed) check_refused(test, test.request + kSmuggled, seed);
}

std::vector<Case> served_cases() {
  const std::string high = "\xfc\xe4\xf6";
  return {
      {"plain", get(kH), 200, nullptr},
      {"one empty line first", "\r\n" + get(kH), 200, nullptr},
      {"no space behind colon", get("Host:x\r\n"), 200, nullptr},
      {"blanks around a value", get("Host: \t x \t \r\n"), 200, nullptr},
      {"empty value", get("Host: x\r\nA:\r\nB: \r\n"), 200, nullptr},
      {"latin-1 in a value", get("Host: x\r\nce-\x75ml: " + high + "\r\n"), 200, nullptr},
      {"tab in a value", get("Host: x\r\nA: b\tc\r\n"), 200, nullptr},
      {"absolute target", "GET http://x:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n", 200, nullptr},
      {"absolute target without path", "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 200, nullptr},
      {"raw UTF-8 in the target", "GET /\xc3\xa9?q=\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 200,
       nullptr},
      {"Host with port", get("Host: x.example:8080\r\n"), 200, nullptr},
      {"Host IPv6", get("Host: [::1]:8080\r\n"), 200, nullptr},
      {"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 200, nullptr},
      {"CL zero", post("Content-Length: 0\r\n", ""), 200, nullptr},
      {"POST without length", post("", ""), 200, nullptr},
      {"upgrade is ignored", get("Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"), 200,
       nullptr},
      {"chunked", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), 200, nullptr},
      {"Chunked in capitals", post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"),
       200, nullptr},
      {"chunk extension",
       post("Transfer-Encoding: chunked\r\n", "5;a=b;c=\"d e\"\r\nhello\r\n0;z\r\n\r\n"), 200,
       nullptr},
      {"blank before extension",
       post("Transfer-Encoding: chunked\r\n", "5 ;a\r\nhello\r\n0\r\n\r\n"), 200, nullptr},
      {"sixteen digits",
       post("Transfer-Encoding: chunked\r\n", "0000000000000005\r\nhello\r\n0\r\n\r\n"), 200,
       nullptr},
      {"trailers",
       post("Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\nA: b\r\nContent-Length: 9\r\n\r\n"),
       200, nullptr},
      {"many chunks",
       post("Transfer-Encoding: chunked\r\n",
            "1\r\nh\r\n1\r\ne\r\n01\r\nl\r\n2\r\nlo\r\n0\r\n\r\n"),
       200, nullptr},
  };
}

TEST(Framing, WellFormedRequestsAreServedHoweverTheyAreSplit) {
  for (const Case& test : served_cases()) {
    for (size_t seed = 0; seed < 8; ++seed) {
      SCOPED_TRACE(std::string(test.name) + ", split " + std::to_string(seed));
      Harness harness;
      FakeStream& client = harness.connect();
      std::mt19937 random(static_cast<unsigned>(seed));
      const std::string bytes = test.request;
      for (size_t at = 0; at < bytes.size();) {
        const size_t piece = seed == 0 ? bytes.size() : seed == 1 ? 1 : 1 + random() % 40;
        harness.send(client, std::string_view(bytes).substr(at, piece));
        at += piece;
      }
      EXPECT_EQ(status_of(client.output), 200) << client.output;
      ASSERT_EQ(harness.handler.seen.size(), 1u);
      if (bytes.find("0\r\n") != std::string::npos &&
          bytes.find("-Encoding") != std::string::npos) {
        EXPECT_EQ(harness.handler.seen[0].body, "hello");
      }
      // The framing was understood exactly: the next request is served too.
      if (bytes.find("HTTP/1.0") == std::string::npos) {
        harness.send(client, get(kH));
        EXPECT_EQ(harness.handler.seen.size(), 2u);
      }
    }
  }
}

TEST(Framing, AbsoluteTargetsGiveTheirPath) {
  Harness harness;
  harness.ask("GET http://x:80/a?b HTTP/1.1\r\nHost: y\r\n\r\n");
  harness.ask("GET HTTP://x?b=c HTTP/1.1\r\nHost: y\r\n\r\n");
  ASSERT_EQ(harness.handler.seen.size(), 2u);
  EXPECT_EQ(harness.handler.seen[0].target, "/a?b");
  EXPECT_EQ(harness.handler.seen[0].path, "/a");
  EXPECT_EQ(harness.handler.seen[1].path, "/");
  EXPECT_EQ(harness.handler.seen[1].query, "b=c");
}

TEST(Framing, HeaderValuesKeepTheirBytesWithoutSurroundingBlanks) {
  Harness harness;
  harness.ask(get("Host: x\r\nCE-Name:  \xfc\xe4 y\t \r\nEmpty:\r\nUser-Agent: a\r\n"));
  ASSERT_EQ(harness.handler.seen.size(), 1u);
  const auto& headers = harness.handler.seen[0].headers;
  ASSERT_EQ(headers.size(), 4u);
  EXPECT_EQ(headers[1], std::make_pair(std::string("CE-Name"), std::string("\xfc\xe4 y")));
  EXPECT_EQ(headers[2], std::make_pair(std::string("Empty"), std::string()));
}

}  // namespace
}  // namespace weir::http
