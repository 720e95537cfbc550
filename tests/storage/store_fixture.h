// A store in a directory of its own, and a client of it: what the tests of storage/ share.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/event_record.h"
#include "storage/store.h"

namespace weir::storage {

// A directory that is removed at the end.
class TestDirectory {
 public:
  TestDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-test-XXXXXX").string();
    WEIR_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::vector<std::string> names(std::string_view suffix) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(suffix)) found.push_back(name);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  std::string path_;
};

// Options that make every boundary near.
inline StoreOptions small_options(const std::string& directory) {
  StoreOptions options;
  options.directory = directory;
  options.segment_bytes = uint64_t{1} << 20;
  options.reserve_bytes = 0;
  options.state_bytes = uint64_t{4} << 20;
  options.dedupe_max_entries = 200'000;
  options.max_bytes = uint64_t{1} << 30;
  return options;
}

struct TestEvent {
  std::string key;  // empty: none
  std::string tenant = "shop";
  std::string raw = "{}";
};

// Lends requests and waits for them.
class TestClient {
 public:
  explicit TestClient(Store& store) : store_(store), appender_(store.make_appender(wakeup_)) {}

  struct Sent {
    std::vector<AppendEntry> entries;
    std::deque<std::string> bytes;
    AppendRequest request;
  };

  // Lends without waiting.
  Sent& lend(const std::vector<TestEvent>& events,
             int64_t received_ms = Clock::system().wall_ms()) {
    Sent& sent = *sent_.emplace_back(std::make_unique<Sent>());
    for (const TestEvent& event : events) {
      EventFields fields;
      fields.tenant = event.tenant;
      fields.id = event.key;
      fields.name = "test";
      std::string& head = sent.bytes.emplace_back();
      append_event_head(head, fields);
      const std::string& raw = sent.bytes.emplace_back(event.raw);
      const std::string& tenant = sent.bytes.emplace_back(event.tenant);
      AppendEntry entry;
      if (!event.key.empty())
        entry.fingerprint = make_fingerprint(store_.dedupe_secret(), event.tenant, event.key);
      entry.tenant = tenant;
      entry.head = head;
      entry.raw = raw;
      sent.entries.push_back(entry);
    }
    sent.request.entries = sent.entries;
    sent.request.received_at_ms = received_ms;
    sent.request.context = &sent;
    appender_->append(sent.request);
    appender_->flush();
    return sent;
  }

  // Waits until everything lent came back, or until the timeout.
  bool wait_all(int64_t timeout_ms = 60'000) {
    const int64_t end = Clock::system().monotonic_ns() + timeout_ms * 1'000'000;
    for (;;) {
      for (AppendRequest* request = appender_->take_outcomes(); request != nullptr;
           request = request->next)
        ++returned_;
      if (returned_ == sent_.size()) return true;
      const int64_t left = end - Clock::system().monotonic_ns();
      if (left <= 0) return false;
      wakeup_.wait(left);
    }
  }

  Sent& send(const std::vector<TestEvent>& events,
             int64_t received_ms = Clock::system().wall_ms()) {
    Sent& sent = lend(events, received_ms);
    EXPECT_TRUE(wait_all());
    return sent;
  }
  // Sends one event that must be stored or a duplicate.
  AppendEntry put(const std::string& key, const std::string& raw = "{}") {
    Sent& sent = send({{key, "shop", raw}});
    EXPECT_EQ(sent.request.outcome, AppendOutcome::kCommitted)
        << refusal_name(sent.request.refusal) << ' ' << store_.admission_detail();
    return sent.entries[0];
  }
  size_t in_flight() const { return sent_.size() - returned_; }

 private:
  Store& store_;
  Wakeup wakeup_;
  std::unique_ptr<Appender> appender_;
  std::vector<std::unique_ptr<Sent>> sent_;
  size_t returned_ = 0;
};

struct ReadBack {
  std::map<uint64_t, std::string> raws;  // by number
  ReadResult total;
};

// Everything on disk of a shard, in small steps.
inline ReadBack read_all(Store& store, unsigned shard, uint64_t from = 1) {
  ReadBack all;
  all.total.next = from;
  ReadLimits limits;
  limits.max_events = 100;
  do {
    auto step = store.read(shard, all.total.next, limits, [&](const StoredEvent& event) {
      EventFields fields;
      EXPECT_TRUE(decode_event_record(event.payload, &fields));
      EXPECT_GE(event.position.number, all.total.next);
      EXPECT_TRUE(all.raws.emplace(event.position.number, std::string(fields.raw)).second);
      return true;
    });
    EXPECT_TRUE(step.has_value()) << step.error().message;
    if (!step) break;
    all.total.next = step->next;
    all.total.events += step->events;
    all.total.missing += step->missing;
    all.total.at_end = step->at_end;
  } while (!all.total.at_end);
  return all;
}

inline std::unique_ptr<Store> open_store(const StoreOptions& options, MetricRegistry& metrics,
                                         const Clock& clock = Clock::system()) {
  auto store = Store::open(options, clock, metrics);
  EXPECT_TRUE(store.has_value()) << store.error().message;
  return store ? std::move(*store) : nullptr;
}

}  // namespace weir::storage
