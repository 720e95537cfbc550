// One request on its way through the pipeline: everything that has to stay in memory until its
// outcome. Pooled, so that a request in steady state allocates nothing.
// Path: hot (per request).  Thread: the loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "collector/event/arena.h"
#include "collector/event/body_reader.h"
#include "collector/event/key_table.h"
#include "collector/http/exchange.h"
#include "collector/protocols/router.h"
#include "collector/reactor/loop.h"
#include "storage/append.h"

namespace weir {

// A key table with the number of requests that still use it: a reload must not pull the keys away
// from a request that is being parsed.
struct KeyEpoch {
  std::shared_ptr<const event::KeyTable> table;
  uint32_t users = 0;
};

// A rejected event, kept for the answer.
struct Rejected {
  uint32_t index = 0;
  std::string_view reason;  // static, the key table's, or in the arena
  std::string_view detail;
  std::string_view id;
};

struct Ingest final : reactor::Task {
  // Takes the request's next slice; see Pipeline.
  class Worker {
   public:
    virtual ~Worker() = default;
    virtual void work(Ingest& ingest) = 0;
  };

  Ingest(Worker& owner, event::EventParser& parser, const event::Limits& limits)
      : worker(owner), reader(parser, limits) {}
  void run() override { worker.work(*this); }

  Worker& worker;
  http::Exchange* exchange = nullptr;  // null once answered
  http::Body body;
  protocols::RequestHead head;  // views into the exchange; dead once it is answered
  const protocols::Target* target = nullptr;
  KeyEpoch* keys = nullptr;
  const event::Key* key = nullptr;  // null: each event names its own, or the default key counts
  bool verbose = false;
  bool query_done = false;  // the one event of a query route was taken

  event::BodyReader reader;
  event::Arena arena;
  size_t charged_bytes = 0;  // of the arena, in the pipeline's account
  size_t encoded_bytes = 0;
  std::string_view envelope;
  std::string_view request_fields;  // encoded, of events under request_fields_key
  const event::Key* request_fields_key = nullptr;
  std::string_view user_id;
  uint32_t slices = 0;
  uint32_t key_rejections = 0;     // events without a usable key
  uint32_t origin_rejections = 0;  // events whose key forbids the origin
  uint32_t shed_rejections = 0;    // events shed under pressure
  uint32_t rate_rejections = 0;    // events whose own key is over its rate
  std::string_view shed_reason;    // static; of the last one shed

  storage::AppendRequest append;
  std::vector<storage::AppendEntry> entries;
  std::vector<uint32_t> indexes;  // of entries, in the request
  std::vector<Rejected> rejected;

  int64_t deadline_ns = 0;  // while the store has it
  Ingest* newer = nullptr;  // the list of lent requests, in order of their deadlines
  Ingest* older = nullptr;
};

// THREAD: the loop's.
class IngestPool {
 public:
  IngestPool(Ingest::Worker& worker, event::EventParser& parser, const event::Limits& limits)
      : worker_(worker), parser_(parser), limits_(limits) {}
  Ingest& take();
  void set_limits(const event::Limits& limits) {
    limits_ = limits;
  }  // of requests taken from now on
  // Forgets everything about the request; its body's charge ends here.
  void give_back(Ingest& ingest);
  unsigned in_use() const { return in_use_; }

 private:
  static constexpr size_t kKeepRequests = 1024;
  static constexpr size_t kKeepEntries = 1024;  // larger vectors are freed

  Ingest::Worker& worker_;
  event::EventParser& parser_;
  event::Limits limits_;
  std::vector<std::unique_ptr<Ingest>> idle_;
  unsigned in_use_ = 0;
};

// The requests the store has, oldest first. All deadlines are equally far away when they begin, so
// the order of arrival is the order of deadlines and one timer for the oldest is enough.
class LentList {
 public:
  void push(Ingest& ingest);
  void remove(Ingest& ingest);
  Ingest* oldest() const { return oldest_; }

 private:
  Ingest* oldest_ = nullptr;
  Ingest* newest_ = nullptr;
};

}  // namespace weir
