// Pull consumers for an admin: list, show, create, delete, move. Asks the leases and waits.
// Thread: the worker, all of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "collector/admin/reply.h"
#include "forwarder/leases.h"
#include "storage/base/clock.h"
#include "storage/base/wakeup.h"

namespace weir::admin {

class Consumers {
 public:
  // leases may be null: then there are no consumers. LIFETIME: it outlives this, and is stopped
  // before this is destroyed.
  Consumers(forwarder::Leases* leases, const Clock& clock);
  ~Consumers();

  Reply list(bool text);
  Reply show(std::string_view name, bool text);
  // body: {"name":…, "from":…, "lease_seconds":…, …}; see docs/pull.md.
  Reply create(std::string_view body);
  Reply remove(std::string_view name);
  // body: {"to":…}
  Reply seek(std::string_view name, std::string_view body);
  // body: {"from":…,"to":…}
  Reply replay(std::string_view name, std::string_view body);

 private:
  // Comes back within a time, or kTimeout: then the call stays lent until it does.
  Status ask(std::unique_ptr<forwarder::PullCall> call,
             std::unique_ptr<forwarder::PullCall>* answered);
  std::unique_ptr<forwarder::PullCall> make_call(forwarder::PullKind kind, std::string_view name);

  forwarder::Leases* leases_;
  const Clock& clock_;
  Wakeup wakeup_;
  forwarder::PullInbox inbox_;
  std::vector<std::unique_ptr<forwarder::PullCall>> lent_;
};

}  // namespace weir::admin
