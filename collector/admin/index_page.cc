#include "collector/admin/index_page.h"

#include <algorithm>

#include "storage/base/html_text.h"

namespace weir::admin {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Weir</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;
background:#fff}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}
.big{display:flex;gap:1rem;flex-wrap:wrap}
.big div{border:1px solid #ccc;border-radius:.4rem;padding:.6rem 1rem;min-width:8rem}
.big b{display:block;font-size:1.6rem;font-variant-numeric:tabular-nums}
.bad{color:#b00020}.good{color:#0a6b2d}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #ddd}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.bad{color:#ff7a8a}
.good{color:#6fd08c}}
</style></head><body>
)";

std::string lane_rows(const Live& live) {
  std::string out;
  for (const LiveLane& lane : live.lanes) {
    const bool destination = lane.kind == storage::LaneKind::kDestination;
    const int64_t age = lane.oldest_pending_ms == 0 || lane.pending == 0
                            ? 0
                            : std::max<int64_t>(0, live.wall_ms - lane.oldest_pending_ms) / 1000;
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=n>{}</td><td class=n>{}</td><td class=n>{}</td>"
        "<td class=n>{} s</td><td>{}</td></tr>\n",
        html_text(lane.name), html_text(destination ? lane.status.state : "consumer"), lane.pending,
        lane.counts.sent, lane.counts.failed + lane.counts.expired, age,
        html_text(lane.status.last_error));
  }
  return out;
}

}  // namespace

std::string index_page(const Live& live, const NodeInfo& info) {
  std::string out(kHead);
  out += fmt::format("<h1>Weir on {}</h1>\n", html_text(info.node));
  out += live.accepting
             ? std::string("<p class=good>Accepting events.</p>\n")
             : fmt::format("<p class=bad>Refusing events: {}</p>\n", html_text(live.refusal));
  out += "<div class=big>";
  const std::pair<const char*, uint64_t> tiles[] = {{"pending", live.pending},
                                                    {"sent", live.sent},
                                                    {"failed", live.failed},
                                                    {"accepted", live.accepted},
                                                    {"duplicates", live.duplicates}};
  for (const auto& [name, value] : tiles)
    out += fmt::format("<div><b{}>{}</b>{}</div>",
                       name == std::string_view("failed") && value != 0 ? " class=bad" : "", value,
                       name);
  out += "</div>\n";
  out += fmt::format("<p>{:.1f} events/s in, {:.1f} events/s out.</p>\n", live.accepted_per_second,
                     live.sent_per_second);
  out += "<h2>Destinations and consumers</h2>\n";
  if (live.lanes.empty()) {
    out += "<p>None is configured: events wait in the store.</p>\n";
  } else {
    out +=
        "<table><tr><th>name</th><th>state</th><th class=n>pending</th><th class=n>sent</th>"
        "<th class=n>failed</th><th class=n>oldest</th><th>last error</th></tr>\n";
    out += lane_rows(live) + "</table>\n";
  }
  if (!live.metrics.rejected.empty()) {
    out += "<h2>Rejected events</h2>\n<table><tr><th>reason</th><th class=n>events</th></tr>\n";
    for (const auto& [reason, count] : live.metrics.rejected)
      out += fmt::format("<tr><td>{}</td><td class=n>{}</td></tr>\n", html_text(reason), count);
    out += "</table>\n";
  }
  out += fmt::format("<h2>Store</h2>\n<p>{} events, {:.1f} MB in {} segments",
                     live.store.end - live.store.first, static_cast<double>(live.store.bytes) / 1e6,
                     live.store.segments);
  if (live.store.damaged_segments != 0)
    out += fmt::format(", <span class=bad>{} set aside as damaged</span>",
                       live.store.damaged_segments);
  out += fmt::format(". {} keys remembered for {} s.</p>\n", live.store.dedupe_entries,
                     live.store.dedupe_window_ms / 1000);
  out += fmt::format(
      "<p>Weir {}, kernel {}. <code>/metrics</code>, "
      "<code>/api/v1/stats</code>, <code>/api/v1/failed</code></p>\n</body></html>\n",
      html_text(info.version), html_text(info.kernel));
  return out;
}

}  // namespace weir::admin
