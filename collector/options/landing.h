// From a configured value to the member it is for: land<&Options::store, &StoreOptions::max_bytes>
// assigns by the member's own type. For the table of options alone. Thread: any; pure.
#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "collector/options/options.h"
#include "collector/options/value.h"

namespace weir::options {

inline void assign(bool& to, const Value& value) { to = value.boolean; }
inline void assign(std::string& to, const Value& value) { to = value.text; }
inline void assign(std::vector<std::string>& to, const Value& value) { to = value.list; }
inline void assign(std::vector<std::pair<std::string, std::string>>& to, const Value& value) {
  to.insert(to.end(), value.map.begin(), value.map.end());
}
inline void assign(std::vector<std::pair<std::string, std::vector<std::string>>>& to,
                   const Value& value) {
  to = value.list_map;
}
template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) void assign(T& to, const Value& value) {
  to = static_cast<T>(value.number);  // the row's limits keep it in range
}
inline void assign(log::Level& to, const Value& value) {
  to = value.text == "debug"   ? log::Level::kDebug
       : value.text == "warn"  ? log::Level::kWarn
       : value.text == "error" ? log::Level::kError
                               : log::Level::kInfo;
}
inline void assign(log::Format& to, const Value& value) {
  to = value.text == "json" ? log::Format::kJson : log::Format::kLogfmt;
}
inline void assign(forwarder::BodyFormat& to, const Value& value) {
  to = value.text == "ndjson"        ? forwarder::BodyFormat::kNdjson
       : value.text == "cloudevents" ? forwarder::BodyFormat::kCloudEvents
                                     : forwarder::BodyFormat::kJson;
}
inline void assign(forwarder::Compression& to, const Value& value) {
  to = value.text == "none"   ? forwarder::Compression::kNone
       : value.text == "zstd" ? forwarder::Compression::kZstd
                              : forwarder::Compression::kGzip;
}
inline void assign(forwarder::PartitionKey& to, const Value& value) {
  using forwarder::PartitionKey;
  to = value.text == "anonymous" ? PartitionKey::kAnonymous
       : value.text == "session" ? PartitionKey::kSession
       : value.text == "shop"    ? PartitionKey::kShop
       : value.text == "tenant"  ? PartitionKey::kTenant
       : value.text == "id"      ? PartitionKey::kId
       : value.text == "none"    ? PartitionKey::kNone
                                 : PartitionKey::kUser;
}
inline void assign(storage::BacklogPolicy& to, const Value& value) {
  to = value.text == "drop_oldest" ? storage::BacklogPolicy::kDropOldest
                                   : storage::BacklogPolicy::kRefuseNew;
}

template <class T>
struct OwnerOf;
template <class Class, class Member>
struct OwnerOf<Member Class::*> {
  using type = Class;
};

template <auto First, auto... Rest>
void land(void* to, const Value& value) {
  auto& owner = *static_cast<typename OwnerOf<decltype(First)>::type*>(to);
  assign(((owner.*First).*....*Rest), value);
}

}  // namespace weir::options
