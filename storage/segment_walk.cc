// The walk itself; the processes around it are in segment_check.cc.
#include <lmdb.h>

#include <vector>

#include "storage/chunk.h"
#include "storage/segment_check.h"
#include "storage/segment_reader.h"

namespace weir::storage {
namespace {

// The records of one segment, in order.
class Walker {
 public:
  Walker(unsigned shard, uint64_t first, const FunctionRef<bool(std::string_view)>* payload_sound)
      : payload_sound_(payload_sound) {
    summary_.shard = shard;
    summary_.first = first;
    summary_.last = first - 1;
  }

  // False: problem() says what is wrong with this record.
  bool take(uint64_t key, std::string_view value) {
    if (seen_any_ && key <= last_key_)
      return wrong(fmt::format("key {} follows key {}", key, last_key_));
    seen_any_ = true;
    last_key_ = key;
    if (key == kHeaderKey) return take_header(value);
    if (!summary_.has_identity) return wrong("no segment header in front of the first record");
    return is_commit_key(key) ? take_commit(key_number(key), value)
                              : take_chunk(key_number(key), value);
  }

  bool finish() {
    if (!group_.empty())
      return wrong(fmt::format("{} events behind the last commit block", group_.size()));
    return true;
  }

  SegmentWalk result() && { return {std::move(summary_), std::move(problem_)}; }
  bool wrong(std::string what) {
    problem_ = std::move(what);
    return false;
  }

 private:
  bool take_header(std::string_view value) {
    SegmentHeader header;
    const unsigned version = header_version(value);
    if (version == 0) return wrong("the segment header fails its checksum");
    if (version != kFormatVersion)
      return wrong(fmt::format("it has format version {}, this build reads version {}", version,
                               kFormatVersion));
    if (!decode_header(value, &header)) return wrong("the segment header is not one");
    if (header.shard != summary_.shard || header.first != summary_.first)
      return wrong("the segment header belongs to another file name");
    summary_.has_identity = true;
    summary_.store_id = header.store_id;
    summary_.secret = header.secret;
    summary_.created_ms = header.created_ms;
    return true;
  }

  bool take_chunk(uint64_t first, std::string_view value) {
    ChunkView chunk;
    if (const auto problem = chunk.decode(value, summary_.shard, first); !problem.empty())
      return wrong(fmt::format("the chunk of event {}: {}", first, problem));
    const uint64_t before = group_.empty() ? summary_.last : group_first_ + group_.size() - 1;
    if (first <= before || (!group_.empty() && first != before + 1))
      return wrong(fmt::format("event {} does not follow event {}", first, before));
    for (uint64_t number = first; number < chunk.end(); ++number)
      if (!take_event(number, chunk)) return false;
    return true;
  }

  bool take_event(uint64_t number, const ChunkView& chunk) {
    EventRecord record;
    if (!chunk.event(number, &record))
      return wrong(fmt::format("event {} fails its checksum", number));
    if (payload_sound_ != nullptr && !(*payload_sound_)(record.payload))
      return wrong(fmt::format("event {} does not follow the grammar of event records", number));
    if (group_.empty()) group_first_ = number;
    group_.push_back(record.fingerprint);
    group_bytes_ += record.payload.size();
    return true;
  }

  bool take_commit(uint64_t last, std::string_view value) {
    CommitBlock block;
    if (!decode_commit(value, summary_.shard, last, &block))
      return wrong(fmt::format("the commit block of event {} fails its checksum", last));
    if (block.count != group_.size() || block.first != group_first_ ||
        block.payload_bytes != group_bytes_)
      return wrong(fmt::format("the commit block of event {} does not describe its events", last));
    for (size_t i = 0; i < group_.size(); ++i) {
      if (block.fingerprint(i) != group_[i])
        return wrong(fmt::format("the fingerprint of event {} differs from its commit block's",
                                 block.first + i));
      if (!group_[i].empty()) ++summary_.fingerprints;
    }
    summary_.add(block);
    group_.clear();
    group_bytes_ = 0;
    return true;
  }

  const FunctionRef<bool(std::string_view)>* payload_sound_;
  SegmentSummary summary_;
  std::string problem_;
  bool seen_any_ = false;
  uint64_t last_key_ = 0;
  uint64_t group_first_ = 0;
  uint64_t group_bytes_ = 0;
  std::vector<Fingerprint> group_;
};

}  // namespace

SegmentWalk walk_segment(const std::string& path, unsigned shard, uint64_t first,
                         SegmentAccess access,
                         const FunctionRef<bool(std::string_view)>* payload_sound) {
  Walker walker(shard, first, payload_sound);
  const auto finish = [&](std::string problem) {
    walker.wrong(std::move(problem));
    return std::move(walker).result();
  };
  auto env = SegmentEnv::open(path, access, 0);
  if (!env) return finish(env.error().message);
  auto reader = SegmentReader::begin(*env);
  if (!reader) return finish(reader.error().message);
  for (bool more = reader->seek(0); more; more = reader->next())
    if (!walker.take(reader->key(), reader->value())) return std::move(walker).result();
  if (reader->code() != 0) return finish(mdb_strerror(reader->code()));
  walker.finish();
  return std::move(walker).result();
}

}  // namespace weir::storage
