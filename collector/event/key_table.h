// Write keys: who may send what, and what their events must carry. Immutable once built; a reload
// builds a new table and swaps it per reactor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "storage/base/result.h"

namespace weir::event {

// One configured [[keys]] entry.
struct KeyOptions {
  std::string key;  // the secret-ish text clients send; "" only for the open default key
  std::string tenant = "default";
  std::string shop;
  std::vector<std::string> origins;  // empty: any
  std::vector<std::string> require;  // fields that must be present and valid
  std::vector<std::pair<std::string, std::string>> patterns;            // field -> ECMAScript regex
  std::vector<std::pair<std::string, std::vector<std::string>>> allow;  // field -> allowed values
  std::vector<std::string> ack = {"committed"};  // levels a client may ask for
  std::string priority = "normal";
  std::vector<std::string> site_ids;
  bool sandbox = false;
  std::string content_hash = "off";  // "off" | "raw": dedupe events without a key by content
};

}  // namespace weir::event
