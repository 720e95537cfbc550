// The files of the dashboard (web/) and docs/openapi.yaml, built into the program by web/build.mjs.
// Thread: any; immutable.
#pragma once

#include <string_view>
#include <vector>

namespace weir::admin {

struct WebAsset {
  std::string_view path;  // "/assets/app.js"
  std::string_view content_type;
  std::string_view etag;  // with its quotation marks
  std::string_view body;
};
std::vector<WebAsset> web_assets();

}  // namespace weir::admin
