// One event in a query string, answered by an image: GET /v1/pixel.gif?name=…&key=….
#pragma once

#include "collector/protocols/adapter.h"

namespace weir::protocols {
const Adapter& pixel_adapter();
}  // namespace weir::protocols
