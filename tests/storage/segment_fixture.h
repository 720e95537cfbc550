// Segments made event by event, and the chunks that lie in one: what the tests of the log share.
#pragma once

#include <fstream>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/chunk.h"
#include "storage/segment_reader.h"
#include "storage/segment_writer.h"

namespace weir::storage {

// The raw of event i of a group in a segment made by append_group().
inline std::string group_raw(size_t i, size_t size) {
  return std::string(size, static_cast<char>('a' + i % 26));
}

inline ChunkPlan plan_of(const std::vector<size_t>& raw_sizes) {
  ChunkPlan plan;
  plan.begin(std::accumulate(raw_sizes.begin(), raw_sizes.end(), uint64_t{0}));
  for (const size_t size : raw_sizes) plan.add(kEventHeaderSize + size);
  return plan;
}

// Appends one group of events with the given sizes of raw; returns LMDB's code.
inline int append_group(SegmentWriter& writer, const SegmentHeader& header, uint64_t first,
                        const std::vector<size_t>& sizes) {
  if (const int code = writer.begin(); code != 0) return code;
  std::string bytes;
  if (first == header.first) {
    encode_header(bytes, header);
    if (const int code = writer.append(kHeaderKey, bytes); code != 0) return code;
  }
  const ChunkPlan plan = plan_of(sizes);
  CommitBlock block;
  std::string fingerprints;
  block.first = first;
  block.committed_ms = 2'000;
  for (const ChunkSize& size : plan.chunks()) {
    char* to = nullptr;
    const uint64_t begin = first + block.count;
    if (const int code = writer.reserve(event_key(begin), size.bytes, &to); code != 0) return code;
    ChunkEncoder chunk(to, header.shard, begin, size);
    for (; chunk.left() > 0; ++block.count) {
      const Fingerprint fingerprint{first + block.count, 77};
      const std::string raw = group_raw(block.count, sizes[block.count]);
      chunk.add(1'000, fingerprint, {}, raw);
      append_le(fingerprints, fingerprint.low);
      append_le(fingerprints, fingerprint.high);
      block.payload_bytes += raw.size();
    }
    chunk.finish();
  }
  block.fingerprints = fingerprints;
  const TenantEvents tenants[] = {{"shop", sizes.size()}};
  encode_commit(bytes, header.shard, block, tenants);
  if (const int code = writer.append(commit_key(block.last()), bytes); code != 0) return code;
  return writer.commit();
}

inline std::string file_content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// Also in a file that is open: LMDB's map shows the change.
inline void flip_bit(const std::string& path, size_t at, unsigned bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  char byte = 0;
  file.get(byte);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ (1 << bit)));
}

struct ChunkInFile {
  uint64_t first = 0;
  uint32_t count = 0;
  std::vector<size_t> places;  // in the file: pages that are free now may hold older copies
  uint64_t end() const { return first + count; }
  size_t events_at() const { return kChunkHeaderSize + count * kChunkEndSize; }
  // at: in the chunk.
  void flip(const std::string& path, size_t at, unsigned bit) const {
    for (const size_t place : places) flip_bit(path, place + at, bit);
  }
};

// The chunks of a segment, which nobody writes to meanwhile.
inline std::vector<ChunkInFile> chunks_in(const std::string& path) {
  const std::string content = file_content(path);
  auto env = SegmentEnv::open(path, SegmentAccess::kReadSealed, 0);
  WEIR_CHECK(env.has_value());
  auto reader = SegmentReader::begin(*env);
  WEIR_CHECK(reader.has_value());
  std::vector<ChunkInFile> chunks;
  for (bool more = reader->seek(event_key(1)); more; more = reader->next()) {
    if (is_commit_key(reader->key())) continue;
    const std::string_view value = reader->value();
    ChunkInFile chunk{key_number(reader->key()), load_le<uint32_t>(value.data() + 12), {}};
    for (size_t at = content.find(value); at != std::string::npos;
         at = content.find(value, at + value.size()))
      chunk.places.push_back(at);
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

}  // namespace weir::storage
