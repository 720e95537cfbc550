#include "storage/recovery.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "storage/base/log.h"
#include "storage/chunk.h"
#include "storage/disk.h"
#include "storage/file_names.h"
#include "storage/sidecar.h"

namespace weir::storage {
namespace {

constexpr size_t kReadTogether = 128;  // sidecars; a descriptor and 12 KiB each

// The most events a file can hold: each takes at least its header and a place in a directory.
uint64_t most_events(uint64_t bytes) { return bytes / (kEventHeaderSize + kChunkEndSize) + 1; }

bool same_store(const SegmentSummary& summary, const StoreIdentity& identity) {
  return !summary.has_identity || summary.store_id == identity.id;
}

}  // namespace

struct Recovery::Work {
  unsigned shard;
  const Known& known;
  SegmentSet& set;
  RecoveredShard out;
  uint64_t last = 0;                     // the highest number that is or was in a file
  std::vector<SegmentSummary> sidecars;  // sound ones, ascending
};

Recovery::Recovery(const std::string& directory, DamageCheck& check, const Clock& clock,
                   MetricRegistry& metrics)
    : directory_(directory), check_(check), clock_(clock), metrics_(metrics), shards_(kMaxShards) {}

Status Recovery::scan() {
  WEIR_ASSIGN_OR_RETURN(const auto names, list_directory(directory_));
  for (const std::string& name : names) {
    // Successors nobody wrote to, sidecars that were being written.
    const bool unused = name.starts_with("next-") || name.ends_with(".fp.tmp");
    if (unused) unlink((directory_ + "/" + name).c_str());
    const auto file = parse_log_file(name);
    if (!file) continue;
    Files& files = shards_[file->shard][file->first];
    (file->kind == LogFile::Kind::kSegment ? files.segment : files.sidecar) = true;
  }
  return {};
}

Result<std::optional<StoreIdentity>> Recovery::identity() {
  std::optional<StoreIdentity> identity;
  unsigned shards = 0;
  const auto take = [&](const SegmentSummary& summary) {
    if (summary.has_identity) identity = StoreIdentity{summary.store_id, summary.secret, 1};
  };
  for (unsigned shard = 0; shard < shards_.size(); ++shard) {
    if (!shards_[shard].empty()) shards = shard + 1;
    for (const auto& [first, files] : shards_[shard]) {
      if (identity || !files.sidecar) continue;
      auto summary = read_sidecar_summary(directory_ + "/" + sidecar_name(shard, first));
      if (summary) take(*summary);
    }
  }
  for (unsigned shard = 0; shard < shards && !identity; ++shard) {
    for (const auto& [first, files] : shards_[shard]) {
      if (identity || !files.segment) continue;
      auto summary = check(shard, first, false);
      if (summary) take(*summary);
    }
  }
  if (identity) identity->shards = static_cast<uint16_t>(shards);
  return identity;
}

Result<SegmentSummary> Recovery::check(unsigned shard, uint64_t first, bool clean_stop) {
  const auto known = checked_.find({shard, first});
  if (known != checked_.end()) return known->second;
  const std::string path = directory_ + "/" + segment_name(shard, first);
  if (!clean_stop) WEIR_RETURN_IF_ERROR(sync_and_drop_cache(path));
  auto result = check_.check(path, shard, first, SegmentAccess::kReadSealed);
  checked_.emplace(std::pair{shard, first}, result);
  return result;
}

Result<RecoveredShard> Recovery::recover(unsigned shard, const Known& known, SegmentSet& set) {
  Work work{shard, known, set, {}, 0, {}};
  if (!known.clean_stop) WEIR_RETURN_IF_ERROR(sync_directory(directory_));
  for (const auto& [first, files] : shards_[shard]) {
    work.last = std::max(work.last, first - 1);
    WEIR_RETURN_IF_ERROR(recover_file(first, files, &work));
  }
  add_damaged_directory(&work);
  work.out.next = std::max({work.last + 1, known.lowest_live, known.frontier});
  set.set_end(work.out.next);
  work.out.index = std::make_unique<DedupeIndex>(known.dedupe, clock_.wall_ms());
  fill_index(&work);
  return std::move(work.out);
}

Status Recovery::recover_file(uint64_t first, const Files& files, Work* work) {
  if (!files.sidecar) return recover_unsealed(first, work);
  const std::string name = sidecar_name(work->shard, first);
  auto summary = read_sidecar_summary(directory_ + "/" + name);
  const bool sound = summary && summary->shard == work->shard && summary->first == first &&
                     same_store(*summary, work->known.identity);
  if (!sound) {
    WEIR_RETURN_IF_ERROR(
        aside(name, "sidecar", summary ? "it belongs to another store" : summary.error().message));
    return files.segment ? recover_unsealed(first, work) : Status();
  }
  work->last = std::max(work->last, summary->last);
  if (!files.segment) {
    work->sidecars.push_back(*summary);
    work->out.orphans.push_back(
        {work->shard, first, file_bytes(directory_ + "/" + name), summary->committed_ms});
    return {};
  }
  return recover_sealed(*summary, work);
}

Status Recovery::recover_sealed(const SegmentSummary& summary, Work* work) {
  const std::string path = directory_ + "/" + segment_name(work->shard, summary.first);
  unlink((path + "-lock").c_str());
  work->sidecars.push_back(summary);
  if (summary.last < work->known.lowest_live) {
    // Its deletion was committed; the file outlived the crash that followed.
    if (unlink(path.c_str()) != 0) return fail_errno(errno, "cannot delete {}", path);
    work->out.orphans.push_back(
        {work->shard, summary.first,
         file_bytes(directory_ + "/" + sidecar_name(work->shard, summary.first)),
         summary.committed_ms});
    return {};
  }
  work->set.add_sealed(summary, true, false);
  return {};
}

Status Recovery::recover_unsealed(uint64_t first, Work* work) {
  const std::string path = directory_ + "/" + segment_name(work->shard, first);
  unlink((path + "-lock").c_str());
  auto checked = check(work->shard, first, work->known.clean_stop);
  if (checked && !same_store(*checked, work->known.identity))
    checked = fail(ErrorCode::kCorrupt, "{} belongs to another store ({})", path,
                   checked->store_id.text());
  if (!checked && checked.error().code != ErrorCode::kCorrupt)
    return tl::unexpected(std::move(checked).error());
  if (!checked) return drop_damaged(first, checked.error(), work);
  if (checked->empty()) {
    // Nothing was committed to it. Its name still says which numbers were in use.
    if (unlink(path.c_str()) != 0) return fail_errno(errno, "cannot delete {}", path);
    return {};
  }
  work->last = std::max(work->last, checked->last);
  if (checked->last < work->known.lowest_live) {
    if (unlink(path.c_str()) != 0) return fail_errno(errno, "cannot delete {}", path);
    return {};
  }
  WEIR_ASSIGN_OR_RETURN(auto env, SegmentEnv::open(path, SegmentAccess::kReadSealed, 0));
  give_back_tail(path, env->used_bytes());
  Status written =
      build_sidecar(env, *checked, directory_ + "/" + sidecar_name(work->shard, first));
  if (written) written = sync_directory(directory_);
  if (!written)  // a full disk, perhaps: served without, tried again later
    log::warn("sidecar_not_written", {{"segment", path}, {"error", written.error().message}});
  if (written) work->sidecars.push_back(*checked);
  work->set.add_sealed(*checked, written.has_value(), true);
  return {};
}

Status Recovery::drop_damaged(uint64_t first, const Error& error, Work* work) {
  ++work->out.damaged_segments;
  return aside(segment_name(work->shard, first), "segment", error.message);
}

Status Recovery::aside(const std::string& name, std::string_view kind, const std::string& problem) {
  metrics_.counter(Metric::kDamagedSegments, {std::string(kind)}).add();
  auto moved = set_aside(directory_, name, clock_.wall_ms());
  if (!moved) return tl::unexpected(std::move(moved).error());
  log::error("file_set_aside",
             {{"file", directory_ + "/" + name}, {"problem", problem}, {"moved_to", *moved}});
  return {};
}

// What lies in damaged/ from this start or earlier ones: its numbers are never used again, and what
// its sidecars say was accepted stays in the totals.
void Recovery::add_damaged_directory(Work* work) {
  const std::string damaged = directory_ + "/damaged";
  const auto names = list_directory(damaged);
  if (!names) return;
  for (const std::string& name : *names) {
    for (const std::string_view suffix : {".weir", ".fp"}) {
      const size_t stem = 22 + suffix.size();
      const auto file = parse_log_file(std::string_view(name).substr(0, stem));
      if (!file || file->shard != work->shard) continue;
      const std::string path = damaged + "/" + name;
      if (file->kind == LogFile::Kind::kSegment) {
        struct stat info {};
        const bool there = stat(path.c_str(), &info) == 0;
        const uint64_t bytes = there ? static_cast<uint64_t>(info.st_size) : 0;
        work->last = std::max(work->last, file->first + most_events(bytes));
        continue;
      }
      const auto summary = read_sidecar_summary(path);
      if (!summary) continue;
      work->out.damaged_events.events += summary->events;
      for (const auto& [tenant, events] : summary->tenants)
        work->out.damaged_events.tenants[tenant] += events;
    }
  }
}

// The newest first, so that at the cap the oldest fingerprints are the ones left out.
void Recovery::fill_index(Work* work) {
  const DedupeIndex::Options& options = work->known.dedupe;
  const int64_t oldest = clock_.wall_ms() - options.window_ms;
  DedupeIndex& index = *work->out.index;
  for (const SegmentSummary& summary : work->sidecars)
    if (summary.committed_ms >= oldest && !summary.empty())
      index.expect(summary.first, summary.last, summary.created_ms, summary.committed_ms);
  Readers together;
  uint64_t entries = 0;
  for (auto summary = work->sidecars.rbegin(); summary != work->sidecars.rend(); ++summary) {
    if (index.size() >= options.max_entries) break;
    if (summary->committed_ms < oldest) continue;
    const std::string path = directory_ + "/" + sidecar_name(work->shard, summary->first);
    auto reader = SidecarReader::open(path);
    if (!reader) {
      load_from_segment(*summary, reader.error(), work);
      continue;
    }
    // The one that may reach the cap is loaded behind all newer ones, the others together.
    const bool last = index.size() + entries + (*reader)->entries() > options.max_entries;
    if (last || together.size() == kReadTogether) {
      load(together, &index);
      entries = 0;
    }
    entries += (*reader)->entries();
    together.push_back(std::move(*reader));
    if (last) load(together, &index);
  }
  load(together, &index);
}

// Table by table, each filled from all of the files while it is in the processor's cache. Newest
// files first. Empties readers.
void Recovery::load(Readers& readers, DedupeIndex* index) {
  KnownFingerprint known;
  for (size_t table = 0; table < index->tables() && !readers.empty(); ++table)
    for (const auto& reader : readers)
      for (; reader->peek(&known) && index->table_of(known.fingerprint) == table; reader->skip())
        index->load(known.fingerprint, known.number, known.committed_ms);
  readers.clear();
}

// The sidecar's head was sound: its events are counted. The fingerprints come from the segment, if
// it is still there; maintenance writes a new sidecar.
void Recovery::load_from_segment(const SegmentSummary& summary, const Error& error, Work* work) {
  const std::string name = sidecar_name(work->shard, summary.first);
  if (auto moved = aside(name, "sidecar", error.message); !moved)
    log::error("set_aside_failed",
               {{"file", directory_ + "/" + name}, {"error", moved.error().message}});
  if (!work->set.lose_sidecar(summary.first)) return;
  auto opened = work->set.open_at(summary.first);
  if (!opened || opened->first != summary.first) return;
  DedupeIndex& index = *work->out.index;
  auto loaded = for_each_commit(
      opened->env, work->shard, summary.first, summary.last, [&](const CommitBlock& block) {
        for (uint32_t i = 0; i < block.count; ++i)
          if (!block.fingerprint(i).empty())
            index.load(block.fingerprint(i), block.first + i, block.committed_ms);
        return true;
      });
  if (!loaded) log::error("dedupe_not_loaded", {{"error", loaded.error().message}});
}

}  // namespace weir::storage
