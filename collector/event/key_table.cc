#include "collector/event/key_table.h"

#include <algorithm>

#include "storage/base/hash.h"

namespace weir::event {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

bool matches_origin(std::string_view pattern, std::string_view origin) {
  if (pattern == "*") return true;
  const size_t star = pattern.find("://*.");
  if (star == std::string_view::npos) return equal_ignoring_case(pattern, origin);
  const std::string_view scheme = pattern.substr(0, star + 3);
  const std::string_view domain = pattern.substr(star + 4);  // ".example", with its port if any
  return origin.size() > scheme.size() + domain.size() &&
         equal_ignoring_case(origin.substr(0, scheme.size()), scheme) &&
         equal_ignoring_case(origin.substr(origin.size() - domain.size()), domain);
}

Result<uint8_t> priority_number(std::string_view name) {
  if (name == "low") return uint8_t{0};
  if (name == "normal" || name.empty()) return uint8_t{1};
  if (name == "high") return uint8_t{2};
  return fail(ErrorCode::kInvalidArgument, "priority \"{}\" is none of high, normal, low", name);
}

Status read_ack_levels(const std::vector<std::string>& levels, bool* may_ack_received) {
  for (const std::string& level : levels) {
    if (level == "received")
      *may_ack_received = true;
    else if (level != "committed")
      return fail(ErrorCode::kInvalidArgument, "ack level \"{}\" is neither committed nor received",
                  level);
  }
  return {};
}

Status check_origin(std::string_view origin) {
  if (origin == "*" || origin == "null") return {};
  const size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos || scheme == 0 ||
      origin.find('/', scheme + 3) != std::string_view::npos)
    return fail(ErrorCode::kInvalidArgument,
                "origin \"{}\" is not scheme://host[:port] without a path", origin);
  return {};
}

Status fill(Key& key, const KeyOptions& options) {
  key.text = options.key;
  key.name = options.name;
  key.tenant = options.tenant;
  key.shop = options.shop;
  key.origins = options.origins;
  key.sandbox = options.sandbox;
  key.keep_ip = options.keep_ip;
  if (key.tenant.empty() || key.tenant.size() > 128)
    return fail(ErrorCode::kInvalidArgument, "the tenant has to have 1 to 128 bytes");
  for (const std::string& origin : key.origins) WEIR_RETURN_IF_ERROR(check_origin(origin));
  WEIR_ASSIGN_OR_RETURN(key.priority, priority_number(options.priority));
  WEIR_RETURN_IF_ERROR(read_ack_levels(options.ack, &key.may_ack_received));
  if (options.content_hash != "off" && options.content_hash != "raw")
    return fail(ErrorCode::kInvalidArgument, "content_hash \"{}\" is neither off nor raw",
                options.content_hash);
  key.hash_content = options.content_hash == "raw";
  if (options.rate != 0)
    key.rate = std::make_shared<RateBucket>(
        options.rate, options.rate_burst != 0 ? options.rate_burst : options.rate);
  WEIR_ASSIGN_OR_RETURN(key.rules,
                        RuleSet::build(options.require, options.patterns, options.allow));
  return {};
}

}  // namespace

bool Key::allows_origin(std::string_view origin) const {
  return origins.empty() || std::any_of(origins.begin(), origins.end(), [&](const std::string& o) {
           return matches_origin(o, origin);
         });
}

size_t KeyTable::TextHash::operator()(std::string_view text) const { return hash64(text); }

Result<std::shared_ptr<const KeyTable>> KeyTable::build(const std::vector<KeyOptions>& options,
                                                        const KeyTable* previous) {
  auto table = std::make_shared<KeyTable>();
  for (size_t i = 0; i < options.size(); ++i) {
    const Status added = table->add(i, options[i]);
    if (!added) return fail(added.error().code, "keys[{}]: {}", i, added.error().message);
  }
  for (Key& key : table->keys_) {
    const Key* before = previous == nullptr ? nullptr : previous->find(key.text);
    if (key.rate != nullptr && before != nullptr && before->text == key.text &&
        before->rate != nullptr && before->rate->per_second() == key.rate->per_second() &&
        before->rate->burst() == key.rate->burst())
      key.rate = before->rate;
  }
  return table;
}

Status KeyTable::add(size_t position, const KeyOptions& options) {
  Key& key = keys_.emplace_back();
  WEIR_RETURN_IF_ERROR(fill(key, options));
  if (key.text.empty()) {
    if (default_key_ != nullptr)
      return fail(ErrorCode::kInvalidArgument, "a second default key (an entry without key)");
    default_key_ = &key;
  } else if (!by_text_.emplace(key.text, &key).second) {
    return fail(ErrorCode::kInvalidArgument, "the key is already used by an earlier entry");
  }
  for (const std::string& site : options.site_ids)
    if (!by_site_.emplace(site, &key).second)
      return fail(ErrorCode::kInvalidArgument, "site id \"{}\" of entry {} is already used", site,
                  position);
  return {};
}

const Key* KeyTable::find(std::string_view text) const {
  if (open()) return default_key_;
  const auto found = by_text_.find(text);
  return found == by_text_.end() ? nullptr : found->second;
}

const Key* KeyTable::find_site(std::string_view site_id) const {
  const auto found = by_site_.find(site_id);
  return found == by_site_.end() ? nullptr : found->second;
}

bool KeyTable::any_allows_origin(std::string_view origin) const {
  return std::any_of(keys_.begin(), keys_.end(),
                     [&](const Key& key) { return key.allows_origin(origin); });
}

}  // namespace weir::event
