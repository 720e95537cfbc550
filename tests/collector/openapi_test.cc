// docs/openapi.yaml as the program serves it: every path of every listener's table stands in it,
// and nothing else does. That it is a valid description, and true, tests/e2e/43_openapi.py shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>

#include "collector/admin/api.h"
#include "collector/admin/web_assets.h"
#include "collector/health.h"
#include "collector/http/query.h"
#include "collector/protocols/router.h"
#include "collector/pull/pull_request.h"

namespace weir {
namespace {

// "ingest POST /v1/events", with {} for whatever stands in a path.
using Served = std::set<std::string>;

std::string without_names(std::string_view path) {
  std::string out;
  bool in_hole = false;
  for (const char c : path) {
    if (c == '{') out += "{}";
    in_hole = (in_hole || c == '{') && c != '}';
    if (!in_hole && c != '}') out += c;
  }
  return out;
}

void add(Served& served, std::string_view listener, http::Method method, std::string_view path) {
  served.insert(fmt::format("{} {} {}", listener, http::method_name(method), without_names(path)));
}

Served served_by_the_code() {
  Served out;
  for (const protocols::Adapter* adapter : protocols::all_adapters())
    for (const protocols::Route& route : adapter->routes()) {
      // The one path whose end is the protocol's own business.
      const bool settings = route.path == "/v1/projects/*";
      add(out, "ingest", route.method, settings ? "/v1/projects/{}/settings" : route.path);
    }
  for (const std::string_view path : health_paths()) add(out, "ingest", http::Method::kGet, path);
  for (const admin::Api::ServedPath& one : admin::Api::served_paths())
    add(out, "admin", one.method, one.path);
  for (const admin::WebAsset& asset : admin::web_assets())
    add(out, "admin", http::Method::kGet,
        asset.path.starts_with("/assets/") ? "/assets/{}" : asset.path);
  for (const char* listener : {"pull", "admin"})
    for (const pull::Operation& operation : pull::operations())
      add(out, listener, operation.method, fmt::format("/pull/v1/{{}}{}", operation.behind));
  add(out, "pull", http::Method::kGet, "/livez");
  return out;
}

std::string_view description() {
  for (const admin::WebAsset& asset : admin::web_assets())
    if (asset.path == "/openapi.yaml") return asset.body;
  return {};
}

// Reads the file's own layout: a path at two blanks, its listeners and methods at four.
Served described() {
  static const std::map<std::string, std::string> kMethods = {
      {"    get:", "GET"}, {"    post:", "POST"}, {"    put:", "PUT"}, {"    delete:", "DELETE"}};
  Served out;
  std::istringstream lines{std::string(description())};
  std::string path;
  std::set<std::string> listeners;
  bool in_paths = false;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] != ' ') in_paths = line == "paths:";
    if (!in_paths) continue;
    if (line.starts_with("  /")) {
      path = line.substr(2, line.size() - 3);
      listeners.clear();
    }
    if (line.starts_with("    servers:"))
      for (const char* name : {"ingest", "admin", "pull"})
        if (line.find(fmt::format("description: {}}}", name)) != line.npos) listeners.insert(name);
    if (const auto method = kMethods.find(line); method != kMethods.end())
      for (const std::string& listener : listeners)
        out.insert(fmt::format("{} {} {}", listener, method->second, without_names(path)));
  }
  return out;
}

TEST(OpenApiTest, EveryPathOfTheCodeIsDescribedAndEveryDescribedOneIsServed) {
  const Served code = served_by_the_code();
  const Served file = described();
  ASSERT_GT(code.size(), 70u);
  for (const std::string& one : code) EXPECT_TRUE(file.contains(one)) << "not described: " << one;
  for (const std::string& one : file) EXPECT_TRUE(code.contains(one)) << "not served: " << one;
}

}  // namespace
}  // namespace weir
