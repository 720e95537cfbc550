// The whole configuration of one process, as typed structs the components take, and how it is put
// together: the table's defaults (table.h), then the file, then the environment, then the flags;
// the later source wins.
// Thread: start-up and reload only; a loaded Options is a value.
//
// Invariants
//   1. Every option is a row of the table; nothing is read from anywhere else.
//   2. load_options() reports every problem it finds, not only the first; with any problem the
//      Options must not be used.
//   3. `settings` holds the effective value of every row, in the order of the table: what
//      `config print` shows and what a reload compares.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "collector/admin/access.h"
#include "collector/event/key_table.h"
#include "collector/event/limits.h"
#include "collector/http/server.h"
#include "collector/options/value.h"
#include "forwarder/forwarder.h"
#include "forwarder/leases.h"
#include "storage/base/log.h"
#include "storage/base/result.h"
#include "storage/store.h"

namespace weir::options {

struct OptionRow;

struct ServerOptions {
  std::string listen;
  std::string admin;
  std::string pull;     // empty: only on the admin listener
  std::string node;     // never empty once loaded: the host name by default
  unsigned shards = 0;  // never 0 once loaded: one per core by default
  bool pin = true;
  int64_t drain_ms = 0;
  unsigned max_connections = 0;
  unsigned admin_max_connections = 0;
  unsigned pull_max_connections = 0;
  unsigned admin_streams = 0;
  int64_t session_lifetime_ms = 0;
  http::ProxyOptions proxy;
};

struct ReactorOptions {
  int64_t slice_us = 0;
  unsigned ring_entries = 0;
  unsigned receive_buffers = 0;
  unsigned receive_buffer_bytes = 0;
};

// Where a value came from, for messages: "weir.toml:12", "environment WEIR_STORE__MAX_BYTES".
struct Origin {
  std::string text;   // empty: the default
  std::string file;   // set for files
  unsigned line = 0;  // 1-based; 0: not from a file
  unsigned column = 0;
};

struct Problem {
  Origin origin;
  std::string path;     // "store.max_bytes", "destinations.0.url"; empty: the file as a whole
  std::string message;  // what is wrong
  std::string hint;     // what to do; may be empty
};

struct EffectiveSetting {
  const OptionRow* row = nullptr;
  int index = -1;  // of the array entry, -1 in plain sections
  Value value;
  Origin origin;
  Origin entry;  // where its array entry begins
  std::string path() const;
};

struct Options {
  ServerOptions server;
  ReactorOptions reactor;
  http::Limits limits;
  event::Limits events;
  uint64_t event_memory_bytes = 0;  // per reactor
  int64_t retry_after_ms = 0;
  storage::StoreOptions store;  // lanes: from destinations and consumers
  forwarder::ForwarderOptions forwarder;
  forwarder::PullOptions pull;  // with the declared consumers
  int64_t stats_cache_ttl_ms = 0;
  log::Options log;
  std::vector<event::KeyOptions> keys;
  std::vector<admin::TokenOptions> tokens;

  std::vector<EffectiveSetting> settings;

  // No [[keys]]: clients on loopback need none.
  bool open_ingest() const { return keys.empty(); }
  bool open_admin() const { return tokens.empty(); }
};

// Everything but the defaults. REQUIRES: nothing; a source that is not used stays empty.
struct Sources {
  std::string file;  // path of a TOML file; empty: none
  // Names and values; what does not look like WEIR_<SECTION>__<NAME> is ignored.
  std::vector<std::pair<std::string, std::string>> environment;
  struct Flag {
    std::string shown;  // as the person typed it: "--listen", "--set store.max_bytes"
    std::string path;   // "server.listen"
    std::string value;
  };
  std::vector<Flag> flags;
  std::string forward_url;  // --forward: one more destination, named "forward"
};

// The process's environment, for Sources.
std::vector<std::pair<std::string, std::string>> process_environment();

struct LoadResult {
  Options options;
  std::vector<Problem> problems;
  bool ok() const { return problems.empty(); }
};
LoadResult load_options(const Sources& sources);

// "weir.toml:12: store.max_byte: unknown option; did you mean max_bytes?"
std::string problem_text(const Problem& problem);

// A TCP address as `listen` and `admin` take it: "127.0.0.1:8080", "[::1]:8080", "localhost:8080".
struct Address {
  std::string ip;  // a literal
  uint16_t port = 0;
  bool loopback = false;
};
Result<Address> parse_address(std::string_view text);

}  // namespace weir::options
