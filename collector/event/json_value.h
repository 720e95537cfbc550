// Reads JSON a client sent as a request, not as an event: checked as a whole first, then looked at
// member by member, slowly and obviously.
// Path: cold (requests of the admin and pull listeners).  Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/function_ref.h"
#include "storage/base/result.h"

namespace weir::event {

// One value of a checked text. LIFETIME: the text's.
class JsonValue {
 public:
  // Errors say where the text stops being one JSON value.
  static Result<JsonValue> check(std::string_view text);

  bool is_object() const { return text_.front() == '{'; }
  bool is_array() const { return text_.front() == '['; }
  bool is_null() const { return text_.front() == 'n'; }
  // Visit until one returns false. REQUIRES: is_object(), is_array().
  void each_member(FunctionRef<bool(std::string_view name, JsonValue value)> visit) const;
  void each_element(FunctionRef<bool(JsonValue value)> visit) const;
  // Nothing when it is of another type; a number must be a whole one that fits.
  std::optional<std::string> string() const;
  std::optional<int64_t> integer() const;
  std::optional<bool> boolean() const;
  std::string_view text() const { return text_; }

 private:
  explicit JsonValue(std::string_view text) : text_(text) {}
  std::string_view text_;  // without white space around it; never empty
};

}  // namespace weir::event
