#include "collector/protocols/adapter.h"

#include <fmt/format.h>

#include "storage/base/check.h"

namespace weir::protocols {

std::optional<http::HttpError> Adapter::check_head(const RequestHead&, uint64_t) const {
  return std::nullopt;
}

std::optional<http::HttpError> Adapter::check_wrapper(const event::BodyReader&) const {
  return std::nullopt;
}

http::HttpError Adapter::body_error(const event::BodyReader& reader) const {
  using Kind = event::BodyError::Kind;
  const event::BodyError& error = reader.error();
  http::HttpError answer;
  switch (error.kind) {
    case Kind::kEmpty:
      answer.code = "empty_body";
      answer.message = "the request has no body";
      return answer;
    case Kind::kSyntax:
      answer.code = "invalid_json";
      break;
    case Kind::kNotAnObject:
      answer.code = "not_an_object";
      break;
    case Kind::kMissingBatch:
      answer.code = "missing_events";
      break;
    case Kind::kEventTooLarge:
      answer.status = 413;
      answer.code = "event_too_large";
      break;
    case Kind::kEnvelopeTooLarge:
      answer.status = 413;
      answer.code = "envelope_too_large";
      break;
    case Kind::kTooManyEvents:
      answer.status = 413;
      answer.code = "too_many_events";
      break;
    case Kind::kNone:
      WEIR_CHECK(false, "body_error() without an error");
  }
  answer.message = fmt::format("{} at byte {}", error.reason, error.offset);
  return answer;
}

std::string Adapter::shape_error(const http::HttpError& error) const {
  return http::error_body(error.code, error.message);
}

http::Response Adapter::info(const RequestHead&, uint8_t, std::string&) const {
  WEIR_CHECK(false, "{} declares an info route without answering it", name());
  return {};
}

}  // namespace weir::protocols
