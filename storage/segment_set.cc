#include "storage/segment_set.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/log.h"
#include "storage/disk.h"
#include "storage/file_names.h"
#include "storage/segment_reader.h"
#include "storage/sidecar.h"

namespace weir::storage {

SegmentSet::SegmentSet(std::string directory, unsigned shard, DamageCheck& check,
                       std::function<void(const SegmentSummary&)> on_damage)
    : directory_(std::move(directory)),
      shard_(shard),
      check_(check),
      on_damage_(std::move(on_damage)) {}

std::string SegmentSet::path_of(uint64_t first) const {
  return directory_ + "/" + segment_name(shard_, first);
}

void SegmentSet::add_sealed(const SegmentSummary& summary, bool has_sidecar, bool known_sound) {
  const std::lock_guard lock(mutex_);
  WEIR_CHECK(segments_.empty() || segments_.back().summary.last < summary.first);
  Segment segment;
  segment.summary = summary;
  segment.sealed = true;
  segment.has_sidecar = has_sidecar;
  segment.sound = known_sound;
  segment.bytes = file_bytes(path_of(summary.first)) +
                  file_bytes(directory_ + "/" + sidecar_name(shard_, summary.first));
  segments_.push_back(std::move(segment));
}

bool SegmentSet::lose_sidecar(uint64_t first) {
  const std::lock_guard lock(mutex_);
  Segment* segment = find(first);
  if (segment == nullptr) return false;
  segment->has_sidecar = false;
  return true;
}

void SegmentSet::activate(uint64_t first, std::shared_ptr<SegmentEnv> env) {
  const std::lock_guard lock(mutex_);
  if (!segments_.empty() && !segments_.back().sealed) {
    Segment& before = segments_.back();
    before.sealed = true;
    before.bytes = before.env->used_bytes();
    before.last_use = ++uses_;
    // Nobody writes it any more: readers of other processes need no lock file from now on.
    unlink((path_of(before.summary.first) + "-lock").c_str());
  }
  Segment segment;
  segment.summary.shard = shard_;
  segment.summary.first = first;
  segment.summary.last = first - 1;
  segment.sound = true;
  segment.env = std::move(env);
  segments_.push_back(std::move(segment));
  close_surplus();
}

void SegmentSet::seal_active() {
  const std::lock_guard lock(mutex_);
  if (segments_.empty() || segments_.back().summary.empty()) return;
  segments_.back().sealed = true;
  unlink((path_of(segments_.back().summary.first) + "-lock").c_str());
}

void SegmentSet::record_commit(const CommitBlock& block, const SegmentHeader& header) {
  const std::lock_guard lock(mutex_);
  Segment& active = segments_.back();
  if (!active.summary.has_identity) {
    active.summary.has_identity = true;
    active.summary.store_id = header.store_id;
    active.summary.secret = header.secret;
    active.summary.created_ms = header.created_ms;
  }
  active.summary.add(block);
  if (active.env != nullptr) active.bytes = active.env->used_bytes();
  committed_end_.store(block.last() + 1, std::memory_order_release);
}

void SegmentSet::reopen_active_for_reading() {
  const std::lock_guard lock(mutex_);
  if (segments_.empty() || segments_.back().sealed) return;
  auto env =
      SegmentEnv::open(path_of(segments_.back().summary.first), SegmentAccess::kReadSealed, 0);
  if (env) segments_.back().env = *env;
}

std::vector<SegmentSet::Row> SegmentSet::rows() const {
  const std::lock_guard lock(mutex_);
  std::vector<Row> rows;
  rows.reserve(segments_.size());
  for (const Segment& segment : segments_)
    rows.push_back({segment.summary, segment.bytes, segment.sealed, segment.has_sidecar});
  return rows;
}

std::vector<uint64_t> SegmentSet::without_sidecar() const {
  const std::lock_guard lock(mutex_);
  std::vector<uint64_t> firsts;
  for (const Segment& segment : segments_)
    if (segment.sealed && !segment.has_sidecar && !segment.summary.empty())
      firsts.push_back(segment.summary.first);
  return firsts;
}

uint64_t SegmentSet::first() const {
  const std::lock_guard lock(mutex_);
  for (const Segment& segment : segments_)
    if (!segment.summary.empty()) return segment.summary.first;
  return committed_end();
}

SegmentSet::Segment* SegmentSet::find(uint64_t first) {
  for (Segment& segment : segments_)
    if (segment.summary.first == first) return &segment;
  return nullptr;
}

// Keeps the kMaxOpen sealed ones that were used last.
void SegmentSet::close_surplus() {
  for (;;) {
    size_t open = 0;
    Segment* oldest = nullptr;
    for (Segment& segment : segments_) {
      if (!segment.sealed || segment.env == nullptr) continue;
      ++open;
      if (oldest == nullptr || segment.last_use < oldest->last_use) oldest = &segment;
    }
    if (open <= kMaxOpen) return;
    oldest->env.reset();
  }
}

Result<SegmentSet::Opened> SegmentSet::open_at(uint64_t number) {
  for (;;) {
    uint64_t to_open = 0;
    {
      const std::lock_guard lock(mutex_);
      auto at = std::lower_bound(
          segments_.begin(), segments_.end(), number,
          [](const Segment& segment, uint64_t wanted) { return segment.summary.last < wanted; });
      while (at != segments_.end() && at->summary.empty()) ++at;
      if (at == segments_.end()) return fail(ErrorCode::kNotFound, "nothing at {}", number);
      if (at->env != nullptr) {
        at->last_use = ++uses_;
        return Opened{at->env, at->summary.first, at->summary.last, at->sealed};
      }
      to_open = at->summary.first;
    }
    WEIR_RETURN_IF_ERROR(open_sealed(to_open));
  }
}

// Opens a sealed segment, after its check if it had none yet. A damaged one is set aside: then the
// caller looks again and finds the next.
Status SegmentSet::open_sealed(uint64_t first) {
  const std::lock_guard opening(opening_);
  bool sound = false;
  {
    const std::lock_guard lock(mutex_);
    const Segment* segment = find(first);
    if (segment == nullptr || segment->env != nullptr) return {};
    sound = segment->sound;
  }
  const std::string path = path_of(first);
  std::string problem;
  std::shared_ptr<SegmentEnv> env;
  if (!sound) {
    auto checked = check_.check(path, shard_, first, SegmentAccess::kReadSealed);
    if (!checked && checked.error().code != ErrorCode::kCorrupt)
      return tl::unexpected(std::move(checked).error());
    if (!checked) problem = checked.error().message;
  }
  if (problem.empty()) {
    auto opened = SegmentEnv::open(path, SegmentAccess::kReadSealed, 0);
    const bool gone = !opened && (opened.error().code == ErrorCode::kCorrupt ||
                                  opened.error().code == ErrorCode::kNotFound);
    if (!opened && !gone) return tl::unexpected(std::move(opened).error());
    if (gone) problem = opened.error().message;
    if (opened) env = *opened;
  }
  SegmentSummary lost;
  {
    const std::lock_guard lock(mutex_);
    Segment* segment = find(first);
    if (segment == nullptr) return {};
    if (problem.empty()) {
      segment->env = std::move(env);
      segment->sound = true;
      segment->last_use = ++uses_;
      close_surplus();
      return {};
    }
    lost = segment->summary;
    segments_.erase(segments_.begin() + (segment - segments_.data()));
    damaged_.fetch_add(1, std::memory_order_relaxed);
  }
  log::error("segment_damaged", {{"file", path},
                                 {"problem", problem},
                                 {"first", lost.first},
                                 {"last", lost.last},
                                 {"events", lost.events}});
  const int64_t now = Clock::system().wall_ms();
  if (file_exists(path)) {
    auto moved = set_aside(directory_, segment_name(shard_, first), now);
    if (!moved) log::error("set_aside_failed", {{"file", path}, {"error", moved.error().message}});
  }
  if (file_exists(directory_ + "/" + sidecar_name(shard_, first)))
    (void)set_aside(directory_, sidecar_name(shard_, first), now);
  on_damage_(lost);
  return {};
}

Status SegmentSet::write_sidecar(uint64_t first) {
  SegmentSummary summary;
  std::shared_ptr<SegmentEnv> env;
  {
    const std::lock_guard lock(mutex_);
    const Segment* segment = find(first);
    if (segment == nullptr || !segment->sealed || segment->has_sidecar) return {};
    summary = segment->summary;
    env = segment->env;
  }
  if (env == nullptr) {
    WEIR_ASSIGN_OR_RETURN(const Opened opened, open_at(first));
    if (opened.first != first) return {};
    env = opened.env;
  }
  const std::string path = directory_ + "/" + sidecar_name(shard_, first);
  WEIR_RETURN_IF_ERROR(build_sidecar(env, summary, path));
  WEIR_RETURN_IF_ERROR(sync_directory(directory_));
  // Nothing is appended to it any more, and who is behind by a segment reads from the disk.
  give_back_tail(path_of(first), env->used_bytes());
  drop_cache(path_of(first));
  const std::lock_guard lock(mutex_);
  if (Segment* segment = find(first); segment != nullptr) {
    segment->has_sidecar = true;
    segment->bytes += file_bytes(path);
    // The environment that wrote it keeps the pages of its largest commit; readers open it anew.
    segment->env.reset();
  }
  return {};
}

Status SegmentSet::remove(uint64_t first) {
  {
    const std::lock_guard lock(mutex_);
    const Segment* segment = find(first);
    if (segment == nullptr || !segment->sealed) return {};
    segments_.erase(segments_.begin() + (segment - segments_.data()));
  }
  const std::string path = path_of(first);
  unlink((path + "-lock").c_str());
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, "cannot delete the segment {}", path);
  return {};
}

Status for_each_commit(const std::shared_ptr<SegmentEnv>& env, unsigned shard, uint64_t first,
                       uint64_t last, FunctionRef<bool(const CommitBlock&)> visit) {
  WEIR_ASSIGN_OR_RETURN(auto reader, SegmentReader::begin(env));
  // The group that holds `last` ends at its commit key or a little behind it.
  bool found = reader.seek(commit_key(last));
  while (found && !is_commit_key(reader.key())) found = reader.next();
  if (!found) found = reader.code() == 0 && reader.last();
  while (found && reader.key() != kHeaderKey) {
    CommitBlock block;
    const uint64_t end = key_number(reader.key());
    if (!is_commit_key(reader.key()) || !decode_commit(reader.value(), shard, end, &block))
      return fail(ErrorCode::kCorrupt, "the commit block of event {} fails its checksum", end);
    if (end < first || !visit(block) || block.first <= first) break;
    // Numbers are dense within a segment: the group before ends just below this one.
    found = reader.seek_exact(commit_key(block.first - 1));
  }
  if (reader.code() != 0) return fail_lmdb(reader.code(), "cannot read", "a segment");
  return {};
}

Status build_sidecar(const std::shared_ptr<SegmentEnv>& env, const SegmentSummary& summary,
                     const std::string& path) {
  SidecarBuilder builder(summary);
  if (!summary.empty())
    WEIR_RETURN_IF_ERROR(for_each_commit(env, summary.shard, summary.first, summary.last,
                                         [&](const CommitBlock& block) {
                                           builder.add(block);
                                           return true;
                                         }));
  return builder.write(path);
}

}  // namespace weir::storage
