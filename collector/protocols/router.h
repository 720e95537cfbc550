// From a path to the protocol that serves it: one hash look-up for exact paths.
// Path: hot (per request).  Thread: immutable, any reader.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "collector/protocols/adapter.h"

namespace weir::protocols {

struct Target {
  const Adapter* adapter = nullptr;
  const Route* route = nullptr;
  size_t adapter_number = 0;  // of the adapter in the router, for per-protocol tables
};

class Router {
 public:
  // LIFETIME: the adapters outlive the router. Checks that no path is claimed twice.
  explicit Router(std::span<const Adapter* const> adapters);

  // Null when nothing is served at path.
  const Target* find(std::string_view path) const;
  std::span<const Adapter* const> adapters() const { return adapters_; }

 private:
  struct PathHash {
    size_t operator()(std::string_view path) const;
  };
  std::vector<const Adapter*> adapters_;
  std::unordered_map<std::string_view, Target, PathHash> exact_;
  std::vector<Target> prefixes_;
};

// Every protocol Weir speaks.
std::span<const Adapter* const> all_adapters();

}  // namespace weir::protocols
