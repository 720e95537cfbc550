// Writes JSON text: keeps track of commas, escapes strings. For answers of the admin listener and
// the commands' --json, never on the path of an event.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/clock.h"
#include "storage/base/json_text.h"

namespace weir {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }

  JsonWriter& key(std::string_view name) {
    comma();
    append_json_string(out_, name);
    out_.push_back(':');
    first_ = true;  // the value needs no comma
    return *this;
  }
  JsonWriter& string(std::string_view text) {
    comma();
    append_json_string(out_, text);
    return *this;
  }
  JsonWriter& boolean(bool value) { return raw(value ? "true" : "false"); }
  JsonWriter& null() { return raw("null"); }
  template <std::integral T>
  JsonWriter& number(T value) {
    return raw(std::to_string(value));
  }
  // Three decimals; JSON has neither infinity nor NaN, they become null.
  JsonWriter& number(double value) {
    return value - value != 0 ? null() : raw(fmt::format("{:.3f}", value));
  }
  // Ready JSON text.
  JsonWriter& raw(std::string_view json) {
    comma();
    out_ += json;
    return *this;
  }

  JsonWriter& field(std::string_view name, std::string_view text) { return key(name).string(text); }
  JsonWriter& field(std::string_view name, const char* text) { return key(name).string(text); }
  JsonWriter& field(std::string_view name, bool value) { return key(name).boolean(value); }
  JsonWriter& field(std::string_view name, double value) { return key(name).number(value); }
  template <std::integral T>
  requires(!std::same_as<T, bool>) JsonWriter& field(std::string_view name, T value) {
    return key(name).number(value);
  }

  // Milliseconds since 1970 as text; null when there is no such time.
  JsonWriter& time_field(std::string_view name, int64_t wall_ms) {
    key(name);
    return wall_ms == 0 ? null() : string(format_rfc3339_ms(wall_ms));
  }

  const std::string& text() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  void comma() {
    if (!first_) out_.push_back(',');
    first_ = false;
  }
  JsonWriter& open(char bracket) {
    comma();
    out_.push_back(bracket);
    first_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    out_.push_back(bracket);
    first_ = false;
    return *this;
  }

  std::string out_;
  bool first_ = true;
};

}  // namespace weir
