// Is a segment sound? Walks every record of it, checksums and cross-references and all.
//
// LMDB trusts its pages: one flipped bit in a page header can crash who reads it. So the walk runs
// in a child process, and a child that dies means a damaged file. The children come from a helper
// process that is forked before this process has threads (DamageCheck::start), holds no files of
// ours, and ends when this process does.
// Path: cold (start; each sealed segment once before it is first read).  Thread: any.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "storage/base/function_ref.h"
#include "storage/base/result.h"
#include "storage/segment_env.h"
#include "storage/segment_summary.h"

namespace weir::storage {

struct SegmentWalk {
  SegmentSummary summary;  // of what is sound
  std::string problem;     // the first one; empty: every record is sound
};

// Walks the file in this process: only for a child, or for a file that is known to be sound. Checks
// that keys ascend, every checksum, that the chunks of a group follow each other, that each commit
// block describes exactly the events before it, and that header and name agree. payload_sound, when
// given, judges each payload.
SegmentWalk walk_segment(const std::string& path, unsigned shard, uint64_t first,
                         SegmentAccess access,
                         const FunctionRef<bool(std::string_view)>* payload_sound = nullptr);

class DamageCheck {
 public:
  // Call before the process has threads.
  static Result<std::unique_ptr<DamageCheck>> start();
  ~DamageCheck();
  DamageCheck(const DamageCheck&) = delete;
  DamageCheck& operator=(const DamageCheck&) = delete;

  // The summary of a sound segment; kCorrupt with what is wrong; kUnavailable when no child could
  // be made. Blocks for the whole walk (a full 256 MiB segment: about 0.2 s from the page cache).
  // grammar: also decode every payload as an event record.
  Result<SegmentSummary> check(const std::string& path, unsigned shard, uint64_t first,
                               SegmentAccess access, bool grammar = false);
  pid_t helper() const { return helper_; }  // for tests

 private:
  DamageCheck() = default;
  Status spawn();
  void end();
  bool ask(const std::string& request, std::string* answer);

  std::mutex mutex_;
  int socket_ = -1;
  pid_t helper_ = -1;
};

}  // namespace weir::storage
