// --verify: did every acknowledged event arrive? A temporary pull consumer (docs/pull.md of the
// target) is made before the load, gets everything that is stored from then on, sandbox events
// included, and is deleted afterwards.
// Thread: belongs to one.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/load_options.h"
#include "bench/load/result.h"
#include "storage/base/result.h"

namespace weir::bench {

struct VerifySettings {
  std::string admin_url;  // http(s)://host:port of the admin listener; empty: no verification
  std::string token;      // of the role admin; empty: none is sent
  bool insecure = false;
  int64_t patience_ms = 60'000;  // how long the server may be away, or give nothing new
};

class Verifier {
 public:
  // Makes the consumer. Errors say what the server answered.
  static Result<std::unique_ptr<Verifier>> start(const VerifySettings& settings,
                                                 const LoadOptions& load);
  ~Verifier();  // deletes the consumer
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  // Pulls until every acknowledged event was seen and nothing more comes, the server's patience
  // is used up, or *stop is set. acknowledged: per load thread, one bit per event id.
  Result<Verification> finish(const std::vector<std::vector<bool>>& acknowledged,
                              const std::atomic<bool>* stop);

  // Exposed for tests: thread and counter of an id of this run; false for any other text.
  static bool parse_id(std::string_view id, std::string_view run_id, size_t* thread,
                       uint64_t* counter);

 private:
  struct Http;
  struct Seen;
  Verifier(const VerifySettings& settings, const LoadOptions& load);
  Result<bool> pull_once(Seen& seen);
  bool nothing_pending();

  VerifySettings settings_;
  std::string run_id_;
  std::string consumer_;
  std::unique_ptr<Http> http_;
};

}  // namespace weir::bench
