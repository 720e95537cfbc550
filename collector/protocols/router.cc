#include "collector/protocols/router.h"

#include "collector/protocols/direct.h"
#include "collector/protocols/native.h"
#include "collector/protocols/pixel.h"
#include "collector/protocols/segment.h"
#include "storage/base/check.h"
#include "storage/base/hash.h"

namespace weir::protocols {

Router::Router(std::span<const Adapter* const> adapters)
    : adapters_(adapters.begin(), adapters.end()) {
  for (size_t number = 0; number < adapters_.size(); ++number) {
    for (const Route& route : adapters_[number]->routes()) {
      const Target target{adapters_[number], &route, number};
      if (route.path.back() == '*') {
        prefixes_.push_back(target);
      } else {
        const bool added = exact_.emplace(route.path, target).second;
        WEIR_CHECK(added, "two protocols claim {}", route.path);
      }
    }
  }
}

size_t Router::PathHash::operator()(std::string_view path) const { return hash64(path); }

const Target* Router::find(std::string_view path) const {
  const auto found = exact_.find(path);
  if (found != exact_.end()) return &found->second;
  for (const Target& target : prefixes_) {
    const std::string_view prefix = target.route->path.substr(0, target.route->path.size() - 1);
    if (path.substr(0, prefix.size()) == prefix) return &target;
  }
  return nullptr;
}

std::span<const Adapter* const> all_adapters() {
  static const Adapter* const adapters[] = {&native_adapter(), &direct_adapter(), &pixel_adapter(),
                                            &segment_adapter()};
  return adapters;
}

}  // namespace weir::protocols
