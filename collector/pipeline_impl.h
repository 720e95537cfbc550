// The pipeline's state; what it does is in pipeline.cc (the ingest order) and pipeline_requests.cc
// (requests in memory). Private to those two.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "collector/ack.h"
#include "collector/credentials.h"
#include "collector/ingest.h"
#include "collector/pipeline.h"
#include "collector/protocols/router.h"

namespace weir {

class PipelineImpl final : public Pipeline, public reactor::TurnHook, public Ingest::Worker {
 public:
  PipelineImpl(const PipelineOptions& options, const PipelineDeps& deps,
               std::shared_ptr<const event::KeyTable> keys);

  http::HeadVerdict on_head(const http::Request& request) override;
  void on_request(http::Exchange& exchange) override;
  std::string shape_error(const http::Request& request, const http::HttpError& error) override;
  bool allows_origin(const http::Request& request, std::string_view origin) override;

  void set_keys(std::shared_ptr<const event::KeyTable> keys) override;
  void set_limits(const PipelineLimits& limits) override;
  void set_tap(std::shared_ptr<const TapWatch> watch) override { tap_.watch(std::move(watch)); }
  void collect_outcomes() override;
  unsigned in_flight() const override { return pool_.in_use(); }

 private:
  enum class Verdict : uint8_t { kGoOn, kAnswered };
  class DeadlineTimer final : public reactor::Timer {
   public:
    explicit DeadlineTimer(PipelineImpl& owner) : owner_(owner) {}
    void on_timer() override { owner_.expire(); }

   private:
    PipelineImpl& owner_;
  };

  void before_sleep() override { appender_->flush(); }

  // The order, each step in its place.
  Verdict find_key(Ingest& ingest);
  void work(Ingest& ingest) override;  // split -> parse -> take_event …, one slice of it
  Verdict take_wrapper(Ingest& ingest);
  Verdict take_event(Ingest& ingest, const event::EventParser* parser, std::string_view raw);
  std::string_view judge(Ingest& ingest, const protocols::EventInput& input, EventFields& fields,
                         const event::Key** key);
  void complete(const Ingest& ingest, const event::Key& key, EventFields& fields) const;
  void keep_private(const event::Key& key, EventFields& fields) const;
  Verdict append(Ingest& ingest, const event::Key& key, const EventFields& fields, uint32_t index);
  void submit(Ingest& ingest);

  const event::Key* key_of_event(Ingest& ingest, const event::EventParser* parser);
  void reject(Ingest& ingest, uint32_t index, std::string_view reason, std::string_view detail,
              std::string_view id);
  Verdict fail(Ingest& ingest, const http::HttpError& error);
  bool refuse_open_mode(const protocols::RequestHead& head) const;
  bool charge(Ingest& ingest);
  void look_at_pressure();
  Verdict shed(Ingest& ingest, uint32_t index, const EventFields& fields);
  Verdict check_rate(Ingest& ingest);
  void tap_rejected(const Ingest& ingest, std::string_view reason, EventFields fields);
  void tap_outcomes(const Ingest& ingest);
  void end_slice(Ingest& ingest, int64_t started_ns);

  Ingest& take_ingest(http::Exchange& exchange, const protocols::Target& target);
  void release(Ingest& ingest);
  void release_epoch(KeyEpoch* epoch);
  void lend(Ingest& ingest);
  void expire();

  PipelineOptions options_;
  reactor::Loop& loop_;
  storage::Store& store_;
  const Clock& clock_;
  const http::BodyBudget* budget_;
  const protocols::UserTokenVerifier* user_tokens_;
  PressureGauge* pressure_gauge_;
  DedupeSecret secret_;

  protocols::Router router_;
  Acknowledger ack_;
  CredentialReader credentials_;
  event::EventParser parser_;
  std::unique_ptr<storage::Appender> appender_;
  std::unique_ptr<KeyEpoch> keys_;
  std::vector<std::unique_ptr<KeyEpoch>> retired_;

  IngestPool pool_;
  LentList lent_;
  uint64_t charged_bytes_ = 0;
  DeadlineTimer deadline_;
  storage::Pressure pressure_;  // as of looked_ns_, the turn's time
  int64_t looked_ns_ = INT64_MIN;
  uint8_t shed_below_ = 0;  // priorities below it are shed

  Tap tap_;
  Histogram& slice_seconds_;
  Counter& slice_overruns_;
  Histogram& request_slices_;
};

}  // namespace weir
