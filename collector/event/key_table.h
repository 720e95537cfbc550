// Write keys: who may send what, and what their events must carry. Immutable once built; a reload
// builds a new table and swaps it per reactor (Pipeline::set_keys).
// Path: hot (one look-up per request).  Thread: any number of readers, no writer.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "collector/event/rate_bucket.h"
#include "collector/event/rules.h"
#include "storage/base/result.h"

namespace weir::event {

// One configured [[keys]] entry.
struct KeyOptions {
  std::string key;   // the secret-ish text clients send; "" only for the open default key
  std::string name;  // what events and metrics may show instead of the key; "" shows nothing
  std::string tenant = "default";
  std::string shop;                  // shop_id of events that carry none
  std::vector<std::string> origins;  // empty: any; "https://shop.example", "https://*.example"
  std::vector<std::string> require;  // fields that must be present and valid
  std::vector<std::pair<std::string, std::string>> patterns;            // field -> ECMAScript regex
  std::vector<std::pair<std::string, std::vector<std::string>>> allow;  // field -> allowed values
  std::vector<std::string> ack = {"committed"};  // levels a client may ask for
  std::string priority = "normal";               // of events that name none: high, normal, low
  std::vector<std::string> site_ids;  // vendors' ids that stand for this key, "<protocol>" free
  bool sandbox = false;
  bool keep_ip = false;              // store the client's address; off unless the key asks
  uint64_t rate = 0;                 // events a second; 0: as many as come
  uint64_t rate_burst = 0;           // events at once beyond that; 0: those of one second
  std::string content_hash = "off";  // "off" | "raw": dedupe events without a key by content
};

// A key as the pipeline uses it. LIFETIME: the table's.
struct Key {
  std::string text;
  std::string name;
  std::string tenant;
  std::string shop;
  std::vector<std::string> origins;
  RuleSet rules;
  bool may_ack_received = false;
  uint8_t priority = 1;  // as in EventFields
  bool sandbox = false;
  bool keep_ip = false;
  bool hash_content = false;
  std::shared_ptr<RateBucket> rate;  // null: no limit

  // True for every origin when none is configured. Origins compare without regard to case
  // (RFC 6454 section 4); "https://*.example" means any subdomain.
  bool allows_origin(std::string_view origin) const;
};

class KeyTable {
 public:
  // Errors name the entry and the field. A key with an empty text is the default key; at most one.
  // previous: the table this one replaces; keys with the same rate go on with what they have used.
  static Result<std::shared_ptr<const KeyTable>> build(const std::vector<KeyOptions>& options,
                                                       const KeyTable* previous = nullptr);

  // Null when unknown. In an open table (see open()) every text means the default key, so that an
  // SDK which must send some key works against a server without configuration.
  const Key* find(std::string_view text) const;
  const Key* find_site(std::string_view site_id) const;
  const Key* default_key() const { return default_key_; }  // null: a key is needed
  bool open() const { return default_key_ != nullptr && by_text_.empty(); }
  // For preflights that do not tell the key: some key allows this origin.
  bool any_allows_origin(std::string_view origin) const;
  size_t size() const { return keys_.size(); }

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const;
  };
  using Index = std::unordered_map<std::string, const Key*, TextHash, std::equal_to<>>;

  Status add(size_t position, const KeyOptions& options);

  std::deque<Key> keys_;
  Index by_text_;
  Index by_site_;
  const Key* default_key_ = nullptr;
};

}  // namespace weir::event
