// systemd's readiness protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Nothing happens
// without that variable. Thread: the main thread.
#pragma once

#include <string_view>

#include "storage/base/result.h"

namespace weir {

// "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=…", "STATUS=…".
Status notify_systemd(std::string_view state);

}  // namespace weir
