// Everything HTTP itself refuses, in one table: status, stable code, the sentence for a person, and
// the limit's metric label when it is a limit. docs/http.md lists the same rows.
// Path: cold.  Thread: any; constants only.
#pragma once

#include <string_view>

namespace weir::http {

struct Refusal {
  int status;
  std::string_view code;
  std::string_view message;
  std::string_view limit = {};  // label of weir_http_limit_hits_total; empty: not a limit
  int retry_after_seconds = 0;
  bool close = true;  // false: the connection stays usable when the body can be skipped
};

namespace refusal {

// Framing: the connection closes, because where the next request starts is not certain.
inline constexpr Refusal kBareLf{400, "bare_line_feed", "Lines of the head must end with CR LF"};
inline constexpr Refusal kBareCr{400, "bare_carriage_return",
                                 "A carriage return must be followed by a line feed"};
inline constexpr Refusal kControl{
    400, "control_character",
    "The head contains a control character; if the client speaks TLS, this is a plain HTTP port"};
inline constexpr Refusal kEmptyLine{400, "invalid_request_line",
                                    "Expected a request line, found empty lines"};
inline constexpr Refusal kFold{400, "obsolete_line_folding",
                               "A header line must not begin with a space or tab"};
inline constexpr Refusal kRequestLine{400, "invalid_request_line",
                                      "The request line must be: method, target, HTTP/1.1"};
inline constexpr Refusal kTarget{
    400, "invalid_target",
    "The target must be an absolute path or an http URL without spaces or a fragment"};
inline constexpr Refusal kHeaderLine{400, "invalid_header",
                                     "A header line must be a name, a colon and a value"};
inline constexpr Refusal kHeaderName{
    400, "invalid_header_name",
    "A header name must be a token directly followed by its colon (RFC 9112 section 5.1)"};
inline constexpr Refusal kHostMissing{400, "missing_host", "HTTP/1.1 requires one Host header"};
inline constexpr Refusal kHostDuplicate{400, "duplicate_host",
                                        "There must not be more than one Host header"};
inline constexpr Refusal kHostInvalid{400, "invalid_host",
                                      "The Host header is not a host name with an optional port"};
inline constexpr Refusal kLengthInvalid{400, "invalid_content_length",
                                        "Content-Length must be one decimal number"};
inline constexpr Refusal kLengthDuplicate{400, "duplicate_content_length",
                                          "There must not be more than one Content-Length"};
inline constexpr Refusal kLengthAndChunked{
    400, "ambiguous_body_length", "Content-Length and Transfer-Encoding must not be combined"};
inline constexpr Refusal kTransferEncoding{400, "invalid_transfer_encoding",
                                           "The only supported Transfer-Encoding is: chunked"};
inline constexpr Refusal kTransferEncoding10{400, "invalid_transfer_encoding",
                                             "HTTP/1.0 does not have Transfer-Encoding"};
inline constexpr Refusal kLengthRequired{411, "length_required",
                                         "An HTTP/1.0 request with a body needs Content-Length"};
inline constexpr Refusal kChunkSize{400, "invalid_chunk_size",
                                    "A chunk must begin with its size in hexadecimal and CR LF"};
inline constexpr Refusal kChunkEnd{400, "invalid_chunk_end",
                                   "A chunk's data must be followed by CR LF"};
inline constexpr Refusal kChunkExtension{400, "invalid_chunk_extension",
                                         "The chunk extension contains a forbidden character"};
inline constexpr Refusal kChunkExtensionSize{
    400, "chunk_extension_too_large", "The chunk extensions are too long", "chunk_extension_bytes"};
inline constexpr Refusal kTrailer{400, "invalid_trailer",
                                  "A trailer line must be a name, a colon and a value"};
inline constexpr Refusal kTrailerSize{431, "trailers_too_large", "The trailers are too long",
                                      "trailer_bytes"};
inline constexpr Refusal kVersion{505, "http_version_not_supported",
                                  "Weir speaks HTTP/1.1 and HTTP/1.0 only"};
inline constexpr Refusal kMethodUnknown{501, "unknown_method", "The method is not known"};
inline constexpr Refusal kMethodNotAllowed{405, "method_not_allowed",
                                           "The method is not served here"};
inline constexpr Refusal kProxyHeader{
    400, "invalid_proxy_header",
    "This peer is a trusted proxy and must begin with a PROXY protocol v1 or v2 header"};

inline constexpr Refusal kIncomplete{400, "incomplete_request",
                                     "The connection ended before the request was complete"};

// Limits of the head.
inline constexpr Refusal kRequestLineSize{414, "uri_too_long", "The request line is too long",
                                          "request_line_bytes"};
inline constexpr Refusal kHeaderBytes{431, "headers_too_large", "The request head is too large",
                                      "header_bytes"};
inline constexpr Refusal kHeaderCount{431, "too_many_headers", "The request has too many headers",
                                      "header_count"};

// Slow clients.
inline constexpr Refusal kHeadSlow{408, "request_timeout",
                                   "The request head did not arrive in time", "head_ms"};
inline constexpr Refusal kBodyGap{
    408, "request_timeout", "No byte of the request body arrived for too long", "body_gap_ms"};
inline constexpr Refusal kBodySlow{408, "request_timeout",
                                   "The request body did not arrive in time", "body_ms"};

// Bodies. The framing is certain, so the connection survives where the rest can be skipped.
inline constexpr Refusal kBodyBytes{
    413, "body_too_large", "The request body is larger than allowed", "body_bytes", 0, false};
inline constexpr Refusal kDecodedBytes{
    413,
    "body_too_large",
    "The request body is larger than allowed after decompression",
    "decoded_body_bytes",
    0,
    false};
inline constexpr Refusal kExpansion{413,
                                    "expansion_too_large",
                                    "The compressed request body expands too much",
                                    "expansion_ratio",
                                    0,
                                    false};
inline constexpr Refusal kBodyMemory{503,
                                     "body_memory_exhausted",
                                     "No memory for request bodies is left; try again",
                                     "body_memory_bytes",
                                     1,
                                     false};
inline constexpr Refusal kEncodingUnsupported{
    415,
    "unsupported_encoding",
    "Content-Encoding must be one of: identity, gzip, deflate, zstd; not stacked",
    {},
    0,
    false};
inline constexpr Refusal kEncodingCorrupt{
    400,  "invalid_compression", "The compressed request body is damaged or incomplete", {}, 0,
    false};

// Semantics.
inline constexpr Refusal kExpectation{
    417, "expectation_failed", "The only supported expectation is 100-continue", {}, 0, false};
inline constexpr Refusal kOrigin{
    403,
    "origin_not_allowed",
    "This origin may not send events here; add it to the key's origins",
    {},
    0,
    false};

}  // namespace refusal
}  // namespace weir::http
