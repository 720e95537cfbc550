// Private to the scan: the entry of the AVX2 build of its loop.
#pragma once

#include "collector/event/scan.h"

namespace weir::event {
// REQUIRES: a processor with AVX2, BMI and POPCNT.
size_t scan_container_avx2(ContainerScan& scan, const char* text, size_t at, size_t end);
}  // namespace weir::event
