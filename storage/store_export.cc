// `weir store export`: every event of a data directory, whether or not a server has it open.
// Path: cold.  Thread: any one; each segment is walked in a child process before it is opened here.
#include <algorithm>
#include <vector>

#include "storage/directory_lock.h"
#include "storage/disk.h"
#include "storage/event_cursor.h"
#include "storage/file_names.h"
#include "storage/segment_check.h"
#include "storage/store.h"

namespace weir::storage {
namespace {

// Copied out of one transaction; visit() may block on a pipe, a transaction must not.
struct Page {
  struct Event {
    uint64_t number = 0;
    int64_t received_ms = 0;
    Fingerprint fingerprint;
    std::string payload;
  };
  static constexpr size_t kEvents = 1000;
  static constexpr size_t kBytes = 4 << 20;
  std::vector<Event> events;
  uint64_t next = 0;  // where to go on; 0: at the end
};

Result<Page> read_page(const std::shared_ptr<SegmentEnv>& env, unsigned shard, uint64_t from) {
  WEIR_ASSIGN_OR_RETURN(auto reader, SegmentReader::begin(env));
  Page page;
  size_t bytes = 0;
  EventCursor cursor(reader, shard);
  for (bool more = cursor.seek(from); more; more = cursor.next()) {
    if (page.events.size() >= Page::kEvents || bytes >= Page::kBytes) {
      page.next = cursor.number();
      break;
    }
    if (cursor.lost() > 0) continue;  // verify reports it
    const EventRecord& record = cursor.event();
    page.events.push_back(
        {cursor.number(), record.received_ms, record.fingerprint, std::string(record.payload)});
    bytes += record.payload.size();
  }
  return page;
}

// False: visit wants no more.
Result<bool> export_segment(const std::string& path, const LogFile& file, SegmentAccess access,
                            FunctionRef<bool(const StoredEvent&)> visit) {
  WEIR_ASSIGN_OR_RETURN(auto env, SegmentEnv::open(path, access, 0));
  uint64_t from = file.first;
  do {
    WEIR_ASSIGN_OR_RETURN(const Page page, read_page(env, file.shard, from));
    for (const Page::Event& event : page.events) {
      StoredEvent stored;
      stored.position = {static_cast<uint16_t>(file.shard), event.number};
      stored.received_ms = event.received_ms;
      stored.fingerprint = event.fingerprint;
      stored.payload = event.payload;
      if (!visit(stored)) return false;
    }
    from = page.next;
  } while (from != 0);
  return true;
}

}  // namespace

Result<std::vector<std::string>> export_store(const std::string& directory,
                                              FunctionRef<bool(const StoredEvent&)> visit) {
  auto lock = DirectoryLock::take_shared(directory);
  if (!lock && lock.error().code != ErrorCode::kBusy)
    return tl::unexpected(std::move(lock).error());
  WEIR_ASSIGN_OR_RETURN(const auto check, DamageCheck::start());
  WEIR_ASSIGN_OR_RETURN(const auto names, list_directory(directory));
  std::vector<std::string> skipped;
  for (const std::string& name : names) {
    const auto file = parse_log_file(name);
    if (!file || file->kind != LogFile::Kind::kSegment) continue;
    const std::string path = directory + "/" + name;
    const bool written = !lock && file_exists(path + "-lock");
    const auto access = written ? SegmentAccess::kReadShared : SegmentAccess::kReadSealed;
    const auto sound = check->check(path, file->shard, file->first, access);
    if (!sound) {
      // A running server may have deleted it meanwhile.
      if (file_exists(path)) skipped.push_back(sound.error().message);
      continue;
    }
    WEIR_ASSIGN_OR_RETURN(const bool more, export_segment(path, *file, access, visit));
    if (!more) break;
  }
  return skipped;
}

}  // namespace weir::storage
