#include "storage/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace weir::storage {
namespace {

using Segments = std::vector<RetentionSegment>;

// Bytes of a segment's events from number `from` on, as if all were equally large.
uint64_t bytes_from(const RetentionSegment& segment, uint64_t from) {
  if (segment.first > segment.last || from > segment.last) return 0;
  if (from <= segment.first) return segment.bytes;
  const double share = static_cast<double>(segment.last - from + 1) /
                       static_cast<double>(segment.last - segment.first + 1);
  return static_cast<uint64_t>(static_cast<double>(segment.bytes) * share);
}

uint64_t low_of(const RetentionLane& lane, unsigned shard) {
  return shard < lane.low.size() ? lane.low[shard] : 1;
}

uint64_t backlog_of(const RetentionLane& lane, unsigned shard) {
  return shard < lane.backlog.size() ? lane.backlog[shard] : low_of(lane, shard);
}

bool is_empty(const RetentionSegment& segment) { return segment.first > segment.last; }

bool drops_oldest(const RetentionLane& lane) {
  return lane.idle || lane.options.policy == BacklogPolicy::kDropOldest;
}

class Planner {
 public:
  explicit Planner(const RetentionInput& input) : input_(input) {
    for (const Segments& segments : input.shards) {
      // Invariant 3: received times as if the clock had never gone back.
      int64_t newest = INT64_MIN;
      auto& ages = newest_.emplace_back();
      for (const RetentionSegment& segment : segments) {
        newest = std::max(newest, segment.newest_ms);
        ages.push_back(newest);
        total_bytes_ += segment.bytes;
      }
      deleted_.push_back(0);
    }
    total_bytes_ += input.other_bytes;
  }

  RetentionPlan plan() {
    expire_backlogs();
    expire_idle();
    delete_expired();
    delete_early();
    if (crowded() && over_max_bytes()) expire_for_space();
    decide_refusal();
    measure_disk();
    for (const RetentionLane& lane : input_.lanes) measure_lag(lane);
    return std::move(plan_);
  }

 private:
  // ---- what lanes give up

  void expire_backlogs() {
    for (const RetentionLane& lane : input_.lanes) {
      if (!drops_oldest(lane)) continue;
      if (lane.options.max_backlog_age_ms > 0) expire_by_age(lane);
      if (lane.options.max_backlog_bytes > 0) expire_by_bytes(lane);
    }
  }

  // What retention would delete if no idle lane held it; it is deleted in the next round, after
  // this is durable.
  void expire_idle() {
    for (const RetentionLane& lane : input_.lanes) {
      if (!lane.idle) continue;
      for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
        const Segments& segments = input_.shards[shard];
        for (size_t i = 0; i < segments.size(); ++i) {
          if (!segments[i].sealed || held_by_active(shard, segments[i])) break;
          if (newest_[shard][i] + input_.retention_ms >= input_.now_ms) break;
          if (!is_empty(segments[i])) expire(lane, shard, segments[i].last, "max_idle");
        }
      }
    }
  }

  bool held_by_active(unsigned shard, const RetentionSegment& segment) const {
    return std::any_of(input_.lanes.begin(), input_.lanes.end(), [&](const RetentionLane& lane) {
      return !lane.idle && !is_empty(segment) && low_of(lane, shard) <= segment.last;
    });
  }

  void expire(const RetentionLane& lane, unsigned shard, uint64_t last, std::string_view reason) {
    if (last < low_of(lane, shard)) return;
    for (Expiry& expiry : plan_.expiries) {
      if (expiry.lane != lane.options.name || expiry.shard != shard) continue;
      if (last > expiry.last) {
        expiry.last = last;
        expiry.reason = reason;
      }
      return;
    }
    plan_.expiries.push_back({lane.options.name, shard, last, reason});
  }

  // The oldest part goes segment by segment: a segment's last event is the youngest in it, so
  // nothing goes before its time; something may stay a segment's length longer.
  void expire_by_age(const RetentionLane& lane) {
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
      const Segments& segments = input_.shards[shard];
      for (size_t i = 0; i < segments.size(); ++i) {
        if (is_empty(segments[i])) continue;
        if (newest_[shard][i] + lane.options.max_backlog_age_ms >= input_.now_ms) break;
        if (segments[i].last < backlog_of(lane, shard)) continue;
        expire(lane, shard, segments[i].last, "max_backlog_age");
      }
    }
  }

  uint64_t low_after_expiry(const RetentionLane& lane, unsigned shard) const {
    uint64_t low = backlog_of(lane, shard);
    for (const Expiry& expiry : plan_.expiries)
      if (expiry.lane == lane.options.name && expiry.shard == shard)
        low = std::max(low, expiry.last + 1);
    return low;
  }

  // Takes the excess from each shard in proportion to its share of the backlog.
  void expire_by_bytes(const RetentionLane& lane) {
    std::vector<uint64_t> backlog(input_.shards.size());
    uint64_t total = 0;
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
      for (const RetentionSegment& segment : input_.shards[shard])
        backlog[shard] += bytes_from(segment, low_after_expiry(lane, shard));
      total += backlog[shard];
    }
    if (total <= lane.options.max_backlog_bytes) return;
    const double share =
        static_cast<double>(total - lane.options.max_backlog_bytes) / static_cast<double>(total);
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard)
      expire_bytes_of(lane, shard, share * static_cast<double>(backlog[shard]));
  }

  void expire_bytes_of(const RetentionLane& lane, unsigned shard, double excess) {
    uint64_t last = 0;
    for (const RetentionSegment& segment : input_.shards[shard]) {
      if (excess <= 0) break;
      const uint64_t from = std::max(low_after_expiry(lane, shard), segment.first);
      if (is_empty(segment) || from > segment.last) continue;
      const auto bytes = static_cast<double>(bytes_from(segment, from));
      const uint64_t events = segment.last - from + 1;
      if (bytes <= excess) {
        last = segment.last;
      } else {
        const auto some = static_cast<uint64_t>(static_cast<double>(events) * excess / bytes) + 1;
        last = from + std::min(some, events) - 1;
      }
      excess -= bytes;
    }
    if (last > 0) expire(lane, shard, last, "max_backlog_bytes");
  }

  // ---- what is deleted

  // The oldest segment of the shard that is not deleted yet and may be: sealed and finished.
  const RetentionSegment* next_finished(unsigned shard) const {
    const Segments& segments = input_.shards[shard];
    if (deleted_[shard] >= segments.size()) return nullptr;
    const RetentionSegment& segment = segments[deleted_[shard]];
    if (!segment.sealed) return nullptr;
    for (const RetentionLane& lane : input_.lanes)
      if (!is_empty(segment) && low_of(lane, shard) <= segment.last) return nullptr;
    return &segment;
  }

  void delete_next(unsigned shard, std::string_view reason) {
    const RetentionSegment& segment = input_.shards[shard][deleted_[shard]];
    plan_.deletions.push_back({shard, segment.first, segment.last, reason});
    total_bytes_ -= std::min(total_bytes_, segment.bytes);
    freed_bytes_ += segment.bytes;
    ++deleted_[shard];
  }

  void delete_expired() {
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
      while (next_finished(shard) != nullptr &&
             newest_[shard][deleted_[shard]] + input_.retention_ms < input_.now_ms)
        delete_next(shard, "retention");
    }
  }

  bool over_max_bytes() const { return total_bytes_ + input_.headroom_bytes > input_.max_bytes; }
  bool short_of_disk() const {
    return input_.disk_free_bytes + freed_bytes_ < input_.reserve_bytes + input_.headroom_bytes;
  }
  bool crowded() const { return over_max_bytes() || short_of_disk(); }

  // Without any lane nothing was delivered: then only retention deletes.
  void delete_early() {
    if (input_.lanes.empty()) return;
    while (crowded()) {
      std::optional<unsigned> oldest;
      for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
        if (next_finished(shard) == nullptr) continue;
        if (!oldest || newest_[shard][deleted_[shard]] < newest_[*oldest][deleted_[*oldest]])
          oldest = shard;
      }
      if (!oldest) return;
      delete_next(*oldest, over_max_bytes() ? "max_bytes" : "disk_full");
    }
  }

  // store.max_bytes is everybody's limit: where only lanes that drop the oldest hold a segment,
  // they give it up; it is deleted in the next round, after that is durable.
  void expire_for_space() {
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
      const Segments& segments = input_.shards[shard];
      if (deleted_[shard] >= segments.size()) continue;
      const RetentionSegment& segment = segments[deleted_[shard]];
      if (!segment.sealed || is_empty(segment)) continue;
      const auto holds = [&](const RetentionLane& lane) {
        return low_of(lane, shard) <= segment.last;
      };
      const bool all_drop = std::all_of(
          input_.lanes.begin(), input_.lanes.end(),
          [&](const RetentionLane& lane) { return !holds(lane) || drops_oldest(lane); });
      if (!all_drop) continue;
      for (const RetentionLane& lane : input_.lanes)
        if (holds(lane)) expire(lane, shard, segment.last, "store_max_bytes");
    }
  }

  // ---- whether new events are refused

  void refuse(Refusal refusal, std::string detail) {
    plan_.refusal = refusal;
    plan_.detail = std::move(detail);
  }

  void decide_refusal() {
    if (input_.disk_free_bytes < input_.reserve_bytes)
      return refuse(Refusal::kDiskFull,
                    fmt::format("{} bytes are free on the disk, fewer than store.reserve_bytes "
                                "({}); free some, or let the destinations catch up",
                                input_.disk_free_bytes, input_.reserve_bytes));
    if (total_bytes_ >= input_.max_bytes)
      return refuse(Refusal::kStoreFull,
                    fmt::format("the store holds {} bytes, store.max_bytes is {}, and nothing may "
                                "be deleted: {}",
                                total_bytes_, input_.max_bytes, holders()));
    for (const RetentionLane& lane : input_.lanes)
      if (!drops_oldest(lane) && refuse_for(lane)) return;
  }

  bool refuse_for(const RetentionLane& lane) {
    const LaneOptions& options = lane.options;
    const uint64_t backlog = backlog_bytes(lane, input_.shards);
    if (options.max_backlog_bytes > 0 && backlog >= options.max_backlog_bytes) {
      refuse(Refusal::kBacklogFull,
             fmt::format("{} has {} bytes to catch up with, its max_backlog_bytes is {} and its "
                         "policy is to refuse new events",
                         options.name, backlog, options.max_backlog_bytes));
      return true;
    }
    const int64_t age = input_.now_ms - lane.oldest_pending_ms;
    if (options.max_backlog_age_ms > 0 && lane.oldest_pending_ms > 0 &&
        age > options.max_backlog_age_ms) {
      refuse(Refusal::kBacklogFull,
             fmt::format("the oldest event {} has not finished is {} ms old, its max_backlog_age "
                         "is {} ms and its policy is to refuse new events",
                         options.name, age, options.max_backlog_age_ms));
      return true;
    }
    return false;
  }

  // ---- how near a refusal is

  static unsigned share(uint64_t part, uint64_t whole) {
    const double percent =
        static_cast<double>(part) * 100 / static_cast<double>(std::max<uint64_t>(whole, 1));
    return static_cast<unsigned>(std::min(percent, 1000.0));
  }

  // Bytes that go as soon as they are needed: finished, or held only by lanes that drop the oldest.
  uint64_t reclaimable_bytes() const {
    uint64_t bytes = 0;
    if (input_.lanes.empty()) return bytes;
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
      const Segments& segments = input_.shards[shard];
      for (size_t i = deleted_[shard]; i < segments.size() && segments[i].sealed; ++i) {
        const bool held =
            std::any_of(input_.lanes.begin(), input_.lanes.end(), [&](const RetentionLane& lane) {
              return !drops_oldest(lane) && !is_empty(segments[i]) &&
                     low_of(lane, shard) <= segments[i].last;
            });
        if (held) break;
        bytes += segments[i].bytes;
      }
    }
    return bytes;
  }

  void measure_disk() {
    const uint64_t reclaimable = reclaimable_bytes();
    const uint64_t held = total_bytes_ - std::min(total_bytes_, reclaimable);
    const uint64_t free = input_.disk_free_bytes + freed_bytes_ + reclaimable;
    const unsigned of_store = share(held, input_.max_bytes);
    const unsigned of_disk = share(input_.reserve_bytes, free);
    plan_.disk.percent = std::max(of_store, of_disk);
    plan_.disk.detail =
        of_store >= of_disk
            ? fmt::format(
                  "{} of {} bytes (store.max_bytes) are used by events that may not be "
                  "deleted: {}",
                  held, input_.max_bytes, holders())
            : fmt::format(
                  "{} bytes are free on the disk, new events are refused below {} "
                  "(store.reserve_bytes)",
                  free, input_.reserve_bytes);
  }

  void measure_lag(const RetentionLane& lane) {
    const LaneOptions& options = lane.options;
    if (drops_oldest(lane)) return;
    unsigned percent = 0;
    if (options.max_backlog_bytes > 0)
      percent = share(backlog_bytes(lane, input_.shards), options.max_backlog_bytes);
    if (options.max_backlog_age_ms > 0 && lane.oldest_pending_ms > 0)
      percent = std::max(
          percent,
          share(static_cast<uint64_t>(std::max<int64_t>(input_.now_ms - lane.oldest_pending_ms, 0)),
                static_cast<uint64_t>(options.max_backlog_age_ms)));
    if (percent <= plan_.lag.percent) return;
    plan_.lag.percent = percent;
    plan_.lag.detail = fmt::format("{} has used {} % of its max_backlog", options.name, percent);
  }

  // Who holds the oldest segment, in words.
  std::string holders() const {
    if (input_.lanes.empty())
      return "no destination or consumer has taken anything; configure one, or raise the limit";
    std::string names;
    for (unsigned shard = 0; shard < input_.shards.size(); ++shard) {
      const Segments& segments = input_.shards[shard];
      if (deleted_[shard] >= segments.size()) continue;
      for (const RetentionLane& lane : input_.lanes) {
        if (low_of(lane, shard) > segments[deleted_[shard]].last) continue;
        if (names.find(lane.options.name) != std::string::npos) continue;
        names += (names.empty() ? "" : ", ") + lane.options.name;
      }
    }
    return names.empty() ? "what is there is still being written" : "held by " + names;
  }

  const RetentionInput& input_;
  RetentionPlan plan_;
  std::vector<std::vector<int64_t>> newest_;  // per shard and segment, never going back
  std::vector<size_t> deleted_;               // per shard: how many of the oldest go
  uint64_t total_bytes_ = 0;                  // after what the plan deletes
  uint64_t freed_bytes_ = 0;
};

}  // namespace

RetentionPlan plan_retention(const RetentionInput& input) { return Planner(input).plan(); }

uint64_t backlog_bytes(const RetentionLane& lane,
                       const std::vector<std::vector<RetentionSegment>>& shards) {
  uint64_t bytes = 0;
  for (unsigned shard = 0; shard < shards.size(); ++shard)
    for (const RetentionSegment& segment : shards[shard])
      bytes += bytes_from(segment, backlog_of(lane, shard));
  return bytes;
}

}  // namespace weir::storage
