// `weir store verify` and `weir store inspect`: look at a data directory without changing it,
// whether or not a server has it open.
// Path: cold.  Thread: any one; every file is walked in a child process before it is opened here.
//
// While a server runs, the segment it writes is opened with its lock file, so that LMDB keeps the
// pages that are being read; everything else is never written again. Files that a running server
// deletes meanwhile are skipped. The state is read first: what it points to can only have grown.
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "storage/dead_letters.h"
#include "storage/directory_lock.h"
#include "storage/disk.h"
#include "storage/file_names.h"
#include "storage/segment_check.h"
#include "storage/segment_set.h"
#include "storage/sidecar.h"
#include "storage/state.h"
#include "storage/store.h"

namespace weir::storage {
namespace {

struct SegmentFile {
  unsigned shard = 0;
  uint64_t first = 0;
  bool segment = false;
  bool sidecar = false;
};

// What both commands start with.
struct Opened {
  std::unique_ptr<DirectoryLock> lock;  // null: a server has the directory
  std::unique_ptr<DamageCheck> check;
  StateInspection state;
  std::vector<std::string> names;
  std::vector<SegmentFile> files;  // by shard, then number
};

Result<Opened> open_directory(const std::string& directory) {
  Opened opened;
  auto lock = DirectoryLock::take_shared(directory);
  if (!lock && lock.error().code != ErrorCode::kBusy)
    return tl::unexpected(std::move(lock).error());
  if (lock) opened.lock = std::move(*lock);
  WEIR_ASSIGN_OR_RETURN(opened.check, DamageCheck::start());
  opened.state = inspect_state(directory + "/state");
  WEIR_ASSIGN_OR_RETURN(opened.names, list_directory(directory));
  std::map<std::pair<unsigned, uint64_t>, SegmentFile> files;
  for (const std::string& name : opened.names) {
    const auto parsed = parse_log_file(name);
    if (!parsed) continue;
    SegmentFile& file = files[{parsed->shard, parsed->first}];
    file.shard = parsed->shard;
    file.first = parsed->first;
    (parsed->kind == LogFile::Kind::kSegment ? file.segment : file.sidecar) = true;
  }
  for (const auto& [place, file] : files) opened.files.push_back(file);
  return opened;
}

SegmentAccess access_to(const Opened& opened, const std::string& path) {
  const bool written = opened.lock == nullptr && file_exists(path + "-lock");
  return written ? SegmentAccess::kReadShared : SegmentAccess::kReadSealed;
}

class Verifier {
 public:
  Verifier(const std::string& directory, Opened opened)
      : directory_(directory), opened_(std::move(opened)) {}

  VerifyReport run() {
    report_.problems = opened_.state.problems;
    for (const SegmentFile& file : opened_.files) verify(file);
    verify_lanes();
    const DeadLetterInspection letters = inspect_dead_letters(directory_);
    report_.dead_letters = letters.letters;
    report_.problems.insert(report_.problems.end(), letters.problems.begin(),
                            letters.problems.end());
    return std::move(report_);
  }

 private:
  void problem(std::string text) { report_.problems.push_back(std::move(text)); }

  void verify(const SegmentFile& file) {
    const std::string segment = directory_ + "/" + segment_name(file.shard, file.first);
    const std::string sidecar = directory_ + "/" + sidecar_name(file.shard, file.first);
    std::optional<SegmentSummary> from_segment;
    std::optional<SegmentSummary> from_sidecar;
    std::vector<KnownFingerprint> entries;
    uint64_t& end = ends_[file.shard];
    if (file.segment) {
      if (file.first < end)
        problem(fmt::format("{}: begins at {}, but the file before it ends at {}", segment,
                            file.first, end - 1));
      auto checked =
          opened_.check->check(segment, file.shard, file.first, access_to(opened_, segment), true);
      if (checked) {
        from_segment = std::move(*checked);
        ++report_.segments;
        report_.events += from_segment->events;
      } else if (file_exists(segment)) {
        problem(checked.error().message);
      }
      end = std::max(end, from_segment ? from_segment->last + 1 : file.first);
    }
    if (file.sidecar) {
      auto read =
          read_sidecar(sidecar, [&](const KnownFingerprint& known) { entries.push_back(known); });
      if (read) {
        from_sidecar = std::move(*read);
        ++report_.sidecars;
      } else if (file_exists(sidecar)) {
        problem(read.error().message);
      }
    }
    if (from_segment) verify_identity(segment, *from_segment);
    if (from_sidecar) verify_identity(sidecar, *from_sidecar);
    if (from_segment && from_sidecar)
      verify_sidecar(segment, *from_segment, sidecar, *from_sidecar, entries);
  }

  void verify_identity(const std::string& path, const SegmentSummary& summary) {
    if (!summary.has_identity || !opened_.state.identity) return;
    if (summary.store_id != opened_.state.identity->id)
      problem(fmt::format("{}: belongs to store {}, state says {}", path, summary.store_id.text(),
                          opened_.state.identity->id.text()));
    if (std::memcmp(summary.secret.bytes, opened_.state.identity->secret.bytes,
                    DedupeSecret::kSize) != 0)
      problem(fmt::format("{}: another dedupe secret than state's", path));
  }

  // Summary against summary, then every fingerprint against the commit blocks.
  void verify_sidecar(const std::string& segment, const SegmentSummary& in_segment,
                      const std::string& sidecar, const SegmentSummary& in_sidecar,
                      const std::vector<KnownFingerprint>& entries) {
    const auto facts = [](const SegmentSummary& summary) {
      return std::tie(summary.shard, summary.first, summary.last, summary.events,
                      summary.payload_bytes, summary.fingerprints, summary.oldest_ms,
                      summary.newest_ms, summary.tenants);
    };
    if (facts(in_segment) != facts(in_sidecar)) {
      problem(fmt::format(
          "{}: its summary ({} events up to {}) is not that of its segment ({} "
          "events up to {})",
          sidecar, in_sidecar.events, in_sidecar.last, in_segment.events, in_segment.last));
      return;
    }
    std::multiset<std::pair<Fingerprint, uint64_t>> known;
    for (const KnownFingerprint& entry : entries) known.emplace(entry.fingerprint, entry.number);
    auto env = SegmentEnv::open(segment, SegmentAccess::kReadSealed, 0);
    if (!env) {
      if (file_exists(segment)) problem(env.error().message);
      return;
    }
    uint64_t missing = 0;
    auto walked = for_each_commit(*env, in_segment.shard, in_segment.first, in_segment.last,
                                  [&](const CommitBlock& block) {
                                    for (uint32_t i = 0; i < block.count; ++i)
                                      if (!block.fingerprint(i).empty() &&
                                          known.erase({block.fingerprint(i), block.first + i}) == 0)
                                        ++missing;
                                    return true;
                                  });
    if (!walked) problem(walked.error().message);
    if (missing > 0 || !known.empty())
      problem(fmt::format("{}: {} fingerprints of its segment are missing, {} are not in it",
                          sidecar, missing, known.size()));
  }

  // A position may lie behind a gap, but never beyond the end of what was committed.
  void verify_lanes() {
    for (const LaneState& lane : opened_.state.lanes) {
      for (unsigned shard = 0; shard < lane.shards.size(); ++shard) {
        const auto end = ends_.find(shard);
        const uint64_t known_end = end == ends_.end() ? 1 : end->second;
        const LaneShard& at = lane.shards[shard];
        if (at.frontier > known_end)
          problem(fmt::format("lane {}: its position {}-{} is beyond the end of the log, {}-{}",
                              lane.name, shard, at.frontier, shard, known_end));
        for (const auto& [number, range] : at.open)
          if (range.last >= at.frontier || range.first > range.last)
            problem(fmt::format("lane {}: open batch {:x} covers {}-{} to {}, beyond its position",
                                lane.name, number, shard, range.first, range.last));
      }
    }
  }

  const std::string directory_;
  Opened opened_;
  VerifyReport report_;
  std::map<unsigned, uint64_t> ends_;
};

uint64_t size_of(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

InspectRow segment_row(const std::string& directory, const Opened& opened,
                       const SegmentFile& file) {
  InspectRow row;
  row.file = segment_name(file.shard, file.first);
  row.kind = "segment";
  row.shard = file.shard;
  row.first = file.first;
  const std::string path = directory + "/" + row.file;
  row.bytes = size_of(path);
  const bool written = access_to(opened, path) == SegmentAccess::kReadShared;
  Result<SegmentSummary> summary =
      file.sidecar ? read_sidecar_summary(directory + "/" + sidecar_name(file.shard, file.first))
                   : opened.check->check(path, file.shard, file.first, access_to(opened, path));
  if (!summary) {
    row.state = summary.error().code == ErrorCode::kCorrupt ? "damaged" : "unreadable";
    return row;
  }
  row.state = written ? "active" : file.sidecar ? "sealed" : "unsealed";
  row.last = summary->last;
  row.events = summary->events;
  row.oldest_ms = summary->oldest_ms;
  row.newest_ms = summary->newest_ms;
  return row;
}

InspectRow sidecar_row(const std::string& directory, const SegmentFile& file) {
  InspectRow row;
  row.file = sidecar_name(file.shard, file.first);
  row.kind = "sidecar";
  row.shard = file.shard;
  row.first = file.first;
  row.bytes = size_of(directory + "/" + row.file);
  const auto summary = read_sidecar_summary(directory + "/" + row.file);
  row.state = !summary ? "damaged" : file.segment ? "sound" : "segment deleted";
  if (!summary) return row;
  row.last = summary->last;
  row.events = summary->fingerprints;
  row.oldest_ms = summary->oldest_ms;
  row.newest_ms = summary->newest_ms;
  return row;
}

}  // namespace

Result<VerifyReport> verify_store(const std::string& directory) {
  WEIR_ASSIGN_OR_RETURN(auto opened, open_directory(directory));
  return Verifier(directory, std::move(opened)).run();
}

Result<InspectReport> inspect_store(const std::string& directory) {
  WEIR_ASSIGN_OR_RETURN(const auto opened, open_directory(directory));
  InspectReport report;
  if (opened.state.identity) {
    report.store_id = opened.state.identity->id.text();
    report.shards = opened.state.identity->shards;
  }
  report.lanes = opened.state.lanes;
  for (const SegmentFile& file : opened.files) {
    if (file.segment) report.files.push_back(segment_row(directory, opened, file));
    if (file.sidecar) report.files.push_back(sidecar_row(directory, file));
  }
  const auto add = [&](const std::string& name, std::string kind, std::string state) {
    InspectRow row;
    row.file = name;
    row.kind = std::move(kind);
    row.state = std::move(state);
    row.bytes = size_of(directory + "/" + name);
    report.files.push_back(std::move(row));
  };
  for (const std::string& name : opened.names) {
    if (name == "state") add(name, "state", opened.state.problems.empty() ? "sound" : "damaged");
    if (name == "state.copy") add(name, "state", "copy");
    if (name.starts_with("dead-") && name.ends_with(".weir")) add(name, "dead letters", "");
    if (name.starts_with("next-") && name.ends_with(".weir")) add(name, "segment", "successor");
  }
  if (const auto damaged = list_directory(directory + "/damaged"))
    for (const std::string& name : *damaged) add("damaged/" + name, "damaged", "set aside");
  return report;
}

}  // namespace weir::storage
