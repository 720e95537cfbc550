// From what became of a request to its answer, and the counting of both.
// Path: hot (per request).  Thread: the loop's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "collector/ingest.h"
#include "collector/pressure.h"
#include "storage/base/metrics.h"
#include "storage/store.h"

namespace weir {

class Acknowledger {
 public:
  Acknowledger(const protocols::Router& router, const storage::Store& store,
               MetricRegistry& metrics, int retry_after_seconds);
  void set_retry_after_seconds(int seconds) { retry_after_seconds_ = seconds; }

  // Each answers ingest.exchange, if somebody still waits, and sets it to null.

  // The request came back committed, or nothing of it had to be stored.
  void committed(Ingest& ingest);
  // The request was lent and the client wanted no more.
  void received(Ingest& ingest);
  // The store refused it: it may or may not be on disk, the client has to send again.
  void refused(Ingest& ingest);
  // The store has not answered in time. Its events are counted when it does.
  void outcome_unknown(Ingest& ingest);
  // The whole request failed before anything was lent.
  void failed(Ingest& ingest, const http::HttpError& error);

  // Answers an exchange that never became an Ingest. target may be null (an unknown path).
  void answer(http::Exchange& exchange, const protocols::Target* target,
              const http::Response& response);
  void error(http::Exchange& exchange, const protocols::Target* target,
             const http::HttpError& error, std::string_view extra_headers = {});

  // Counts a rejected event under its reason.
  void count_rejected(const protocols::Target& target, std::string_view reason);
  void count_shed(uint8_t priority, storage::PressureCause cause);
  // 429 until the key may send again; counted by the key's name.
  http::HttpError rate_limited(const event::Key& key, int64_t wait_ns);
  // 503 with the refusal's name, for the head and for append outcomes alike; counted.
  http::HttpError unavailable(storage::Refusal refusal);
  http::HttpError unavailable(std::string_view code, std::string_view message);
  std::string& scratch() { return text_; }

 private:
  struct ProtocolCounters {
    Counter* stored = nullptr;
    Counter* duplicate = nullptr;
    std::map<std::string, Counter*, std::less<>> rejected;  // by reason
    std::map<std::string, Counter*, std::less<>> refused;
    std::map<int, Counter*> answers;  // by status
    Counter* ok = nullptr;            // answers with 200, the usual one
  };

  void count_outcomes(Ingest& ingest);
  void count_answer(const protocols::Target* target, int status);
  protocols::Outcome outcome_of(Ingest& ingest);
  std::string_view stored_id(Ingest& ingest, const storage::AppendEntry& entry);
  void respond(Ingest& ingest, const http::Response& response);
  void respond_outcome(Ingest& ingest, const protocols::Outcome& outcome);

  const storage::Store& store_;
  MetricRegistry& metrics_;
  int retry_after_seconds_;
  std::string store_id_;
  std::vector<ProtocolCounters> counters_;
  std::map<int, Counter*> other_answers_;
  std::map<std::string, Counter*, std::less<>> unavailable_;
  std::map<std::string, Counter*, std::less<>> rate_limited_;  // by the key's name
  std::map<std::pair<uint8_t, storage::PressureCause>, Counter*> shed_;
  std::vector<protocols::EventResult> results_;  // scratch
  std::string text_;                             // scratch
};

}  // namespace weir
