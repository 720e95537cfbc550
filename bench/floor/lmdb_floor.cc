// The floor under every durable acknowledgement on this machine: a bare LMDB commit loop, default
// (synced) mode, append only, fed with the same arrivals as the server beside it. No network, no
// parsing, no dedupe: whatever Weir needs above this is Weir's own.
//
//   lmdb_floor DIRECTORY --group 64          closed loop: 64 records per commit, back to back
//   lmdb_floor DIRECTORY --rate 20000        open loop: records due at a fixed rate; each commit
//   takes
//                                            what is due; latency counts from the moment it was due

#include <lmdb.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <string>

#include "bench/load/histogram.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"

namespace weir::bench {
namespace {

struct Settings {
  std::string directory;
  unsigned group = 64;
  double rate = 0;
  unsigned record_bytes = 560;
  double seconds = 3;
};

class CommitLoop {
 public:
  explicit CommitLoop(const Settings& settings) : settings_(settings) {
    path_ = settings.directory + "/lmdb-floor";
    WEIR_CHECK(mdb_env_create(&env_) == 0);
    WEIR_CHECK(mdb_env_set_mapsize(env_, size_t{64} << 30) == 0);
    const int code = mdb_env_open(env_, path_.c_str(), MDB_NOSUBDIR | MDB_NOTLS, 0600);
    WEIR_CHECK(code == 0, "cannot open {}: {}", path_, mdb_strerror(code));
  }
  ~CommitLoop() {
    mdb_env_close(env_);
    unlink(path_.c_str());
    unlink((path_ + "-lock").c_str());
  }

  void commit(uint64_t records) {
    MDB_txn* txn = nullptr;
    WEIR_CHECK(mdb_txn_begin(env_, nullptr, 0, &txn) == 0);
    MDB_dbi dbi = 0;
    WEIR_CHECK(mdb_dbi_open(txn, nullptr, MDB_INTEGERKEY, &dbi) == 0);
    for (uint64_t i = 0; i < records; ++i) {
      MDB_val key{sizeof next_, &next_};
      MDB_val value{settings_.record_bytes, nullptr};
      WEIR_CHECK(mdb_put(txn, dbi, &key, &value, MDB_APPEND | MDB_RESERVE) == 0);
      std::memset(value.mv_data, static_cast<int>(next_ & 0xff), value.mv_size);
      ++next_;
    }
    WEIR_CHECK(mdb_txn_commit(txn) == 0);
  }

 private:
  Settings settings_;
  std::string path_;
  MDB_env* env_ = nullptr;
  uint64_t next_ = 1;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int run(const Settings& settings) {
  CommitLoop loop(settings);
  LatencyHistogram latency;
  const Clock& clock = Clock::system();
  const int64_t start = clock.monotonic_ns();
  const int64_t end = start + static_cast<int64_t>(settings.seconds * 1e9);
  const double cpu_before = cpu_seconds();
  uint64_t records = 0;
  uint64_t commits = 0;
  while (clock.monotonic_ns() < end) {
    const int64_t begun = clock.monotonic_ns();
    uint64_t group = settings.group;
    if (settings.rate > 0) {
      const auto due =
          static_cast<uint64_t>(static_cast<double>(begun - start) * 1e-9 * settings.rate);
      if (due == records) {
        const timespec pause{0, 20'000};
        nanosleep(&pause, nullptr);
        continue;
      }
      group = due - records;
    }
    loop.commit(group);
    const int64_t done = clock.monotonic_ns();
    for (uint64_t i = 0; i < group; ++i) {
      const int64_t due_ns =
          settings.rate > 0
              ? start + static_cast<int64_t>(static_cast<double>(records + i) / settings.rate * 1e9)
              : begun;
      latency.record(static_cast<uint64_t>(done - due_ns));
    }
    records += group;
    ++commits;
  }
  const double seconds = static_cast<double>(clock.monotonic_ns() - start) * 1e-9;
  std::printf(
      R"({"records":%llu,"commits":%llu,"records_per_second":%.0f,"p50_us":%.1f,"p99_us":%.1f,"cpu_us_per_record":%.3f})"
      "\n",
      static_cast<unsigned long long>(records), static_cast<unsigned long long>(commits),
      static_cast<double>(records) / seconds, static_cast<double>(latency.quantile_ns(0.5)) * 1e-3,
      static_cast<double>(latency.quantile_ns(0.99)) * 1e-3,
      (cpu_seconds() - cpu_before) * 1e6 / static_cast<double>(records));
  return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  CLI::App app("A bare LMDB commit loop: the floor under every durable acknowledgement");
  weir::bench::Settings settings;
  app.add_option("directory", settings.directory, "Where the file is written")->required();
  app.add_option("--group", settings.group, "Records per commit (closed loop)");
  app.add_option("--rate", settings.rate, "Records per second (open loop)");
  app.add_option("--record-bytes", settings.record_bytes, "Bytes of one record");
  app.add_option("--seconds", settings.seconds, "How long");
  CLI11_PARSE(app, argc, argv);
  return weir::bench::run(settings);
}
