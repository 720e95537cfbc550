#include "collector/http/chunked_decoder.h"

#include <algorithm>

#include "collector/http/head_scanner.h"

namespace weir::http {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Field content: visible characters, bytes above 0x7f, space and tab.
bool is_field_char(char c) {
  return (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\t';
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::next(std::string_view& bytes, std::string_view& data) {
  if (at_ == At::kDone) return Step::kDone;
  while (!bytes.empty()) {
    if (at_ == At::kData) {
      data = bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, bytes.size())));
      bytes.remove_prefix(data.size());
      left_ -= data.size();
      if (left_ == 0) at_ = At::kDataCr;
      return Step::kData;
    }
    const char c = bytes.front();
    bytes.remove_prefix(1);
    bool ok = true;
    switch (at_) {
      case At::kSize:
        ok = size_char(c);
        break;
      case At::kExtension:
        ok = extension_char(c);
        break;
      case At::kSizeLf:
        if (c != '\n') return refuse(refusal::kChunkSize);
        at_ = left_ == 0 ? At::kTrailer : At::kData;
        digits_ = 0;
        break;
      case At::kDataCr:
        if (c != '\r') return refuse(refusal::kChunkEnd);
        at_ = At::kDataLf;
        break;
      case At::kDataLf:
        if (c != '\n') return refuse(refusal::kChunkEnd);
        at_ = At::kSize;
        break;
      case At::kTrailer:
        ok = trailer_char(c);
        break;
      case At::kTrailerLf:
        if (c != '\n') return refuse(refusal::kTrailer);
        if (trailer_line_bytes_ == 0) {
          at_ = At::kDone;
          return Step::kDone;
        }
        trailer_line_bytes_ = 0;
        trailer_colon_ = false;
        at_ = At::kTrailer;
        break;
      case At::kData:
      case At::kDone:
        break;
    }
    if (!ok) return Step::kRefused;
  }
  return Step::kNeedMore;
}

bool ChunkedDecoder::size_char(char c) {
  if (const int value = hex_value(c); value >= 0) {
    if (++digits_ > kMaxSizeDigits || left_ >> 59 != 0) {
      refuse(refusal::kChunkSize);
      return false;
    }
    left_ = left_ * 16 + static_cast<uint64_t>(value);
    return true;
  }
  if (digits_ == 0) {
    refuse(refusal::kChunkSize);
    return false;
  }
  if (c == '\r') {
    at_ = At::kSizeLf;
  } else if (c == ';' || c == ' ' || c == '\t') {
    blank_before_semicolon_ = c != ';';
    at_ = At::kExtension;
    ++extension_bytes_;
  } else {
    refuse(refusal::kChunkSize);
    return false;
  }
  return true;
}

bool ChunkedDecoder::extension_char(char c) {
  if (c == '\r') {
    // "5 CR LF": white space is allowed only in front of a ';'.
    if (blank_before_semicolon_) {
      refuse(refusal::kChunkSize);
      return false;
    }
    at_ = At::kSizeLf;
    return true;
  }
  if (!is_field_char(c)) {
    refuse(refusal::kChunkExtension);
    return false;
  }
  if (blank_before_semicolon_ && c != ' ' && c != '\t') {
    if (c != ';') {
      refuse(refusal::kChunkSize);
      return false;
    }
    blank_before_semicolon_ = false;
  }
  if (++extension_bytes_ > kMaxExtensionBytes) {
    refuse(refusal::kChunkExtensionSize);
    return false;
  }
  return true;
}

bool ChunkedDecoder::trailer_char(char c) {
  if (c == '\r') {
    if (trailer_line_bytes_ != 0 && !trailer_colon_) {
      refuse(refusal::kTrailer);
      return false;
    }
    at_ = At::kTrailerLf;
    return true;
  }
  const bool in_name = !trailer_colon_;
  const bool valid = in_name && c != ':' ? is_token_char(c) : is_field_char(c);
  if (!valid || (in_name && c == ':' && trailer_line_bytes_ == 0)) {
    refuse(refusal::kTrailer);
    return false;
  }
  if (c == ':') trailer_colon_ = true;
  if (trailer_line_bytes_++ == 0) ++trailers_;
  if (++trailer_bytes_ > max_trailer_bytes_ || trailers_ > max_trailers_) {
    refuse(refusal::kTrailerSize);
    return false;
  }
  return true;
}

}  // namespace weir::http
