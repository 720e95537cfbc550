// What an operator tells a destination: to go over a part of the log once more.
// Thread: the worker, all of it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "collector/admin/reply.h"
#include "forwarder/seek_target.h"
#include "storage/base/clock.h"
#include "storage/store.h"

namespace weir::admin {

class Destinations {
 public:
  // wake: called after something was opened again. LIFETIME: store and clock outlive this.
  Destinations(storage::Store& store, const Clock& clock, std::function<void()> wake);

  // body: {"from":…,"to":…}, places as for a consumer's replay. Answers
  // {"replayed":events,"failed":events,"pending":events}: the latter two are left out.
  // 409 not_retained, when not all of it is on disk any more, says from where it is.
  Reply replay(std::string_view name, std::string_view body);

 private:
  std::optional<std::string> not_retained(const forwarder::SeekTarget& from, uint16_t shard);
  Result<std::vector<storage::ReplayRange>> ranges(const forwarder::SeekTarget& from,
                                                   const forwarder::SeekTarget& to);

  storage::Store& store_;
  const Clock& clock_;
  std::function<void()> wake_;
};

}  // namespace weir::admin
