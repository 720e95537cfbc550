#include "collector/admin/live_feed.h"

namespace weir::admin {

LiveFeed::LiveFeed(const EventStream::Limits& limits, reactor::Loop& loop, MetricRegistry& metrics,
                   std::function<std::string()> counters)
    : loop_(loop), counters_(std::move(counters)), stream_("live", limits, loop, metrics) {}

void LiveFeed::close() {
  stream_.close();
  loop_.cancel(tick_);
}

bool LiveFeed::subscribe(http::Exchange& exchange) {
  const std::string now = counters_();
  const EventStream::Frame first{"counters", now};
  if (!stream_.subscribe(exchange, nullptr, &first)) return false;
  if (!tick_.armed()) loop_.arm(tick_, kPeriodMs * 1'000'000);
  return true;
}

void LiveFeed::publish() {
  if (stream_.idle()) return;  // not armed again: nobody listens, nothing is computed
  stream_.publish({"counters", counters_()});
  loop_.arm(tick_, kPeriodMs * 1'000'000);
}

}  // namespace weir::admin
