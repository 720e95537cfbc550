// weir store inspect|verify|export: look into a data directory, whether or not a server uses it.
// Thread: the main thread.
#include <algorithm>
#include <cstdio>

#include "collector/cli/verbs.h"
#include "collector/json_writer.h"
#include "storage/base/clock.h"
#include "storage/base/event_record.h"
#include "storage/store.h"

namespace weir::cli {
namespace {

std::string time_text(int64_t ms) { return ms == 0 ? "-" : format_rfc3339_ms(ms); }

std::string verify_text(const storage::VerifyReport& report) {
  std::string out;
  for (const std::string& problem : report.problems) out += problem + "\n";
  out += fmt::format("{}: {} events in {} segments, {} sidecars, {} failed events\n",
                     report.ok() ? "sound" : "DAMAGED", report.events, report.segments,
                     report.sidecars, report.dead_letters);
  return out;
}

std::string verify_json(const storage::VerifyReport& report) {
  JsonWriter json;
  json.begin_object().field("ok", report.ok()).field("segments", report.segments);
  json.field("events", report.events).field("sidecars", report.sidecars);
  json.field("dead_letters", report.dead_letters).key("problems").begin_array();
  for (const std::string& problem : report.problems) json.string(problem);
  json.end_array().end_object();
  return json.take() + "\n";
}

std::string inspect_text(const storage::InspectReport& report) {
  std::string out = fmt::format("store {}, {} shard{}\n\n", report.store_id, report.shards,
                                report.shards == 1 ? "" : "s");
  out +=
      fmt::format("{:<28} {:<13} {:<9} {:>5} {:>10} {:>10} {:>9} {:>12}  {:<24} {}\n", "file",
                  "kind", "state", "shard", "first", "last", "events", "bytes", "oldest", "newest");
  for (const storage::InspectRow& row : report.files)
    out += fmt::format("{:<28} {:<13} {:<9} {:>5} {:>10} {:>10} {:>9} {:>12}  {:<24} {}\n",
                       row.file, row.kind, row.state, row.shard, row.first, row.last, row.events,
                       row.bytes, time_text(row.oldest_ms), time_text(row.newest_ms));
  if (!report.lanes.empty()) out += "\n";
  for (const storage::LaneState& lane : report.lanes) {
    out += fmt::format("{} {}: {} sent, {} failed, {} expired, {} skipped\n",
                       lane.kind == storage::LaneKind::kConsumer ? "consumer" : "destination",
                       lane.name, lane.counts.sent, lane.counts.failed, lane.counts.expired,
                       lane.counts.skipped);
    for (size_t shard = 0; shard < lane.shards.size(); ++shard)
      out += fmt::format("  shard {}: next {}, {} open batches, low {}\n", shard,
                         lane.shards[shard].frontier, lane.shards[shard].open.size(),
                         lane.shards[shard].low());
  }
  return out;
}

std::string inspect_json(const storage::InspectReport& report) {
  JsonWriter json;
  json.begin_object().field("store_id", report.store_id).field("shards", report.shards);
  json.key("files").begin_array();
  for (const storage::InspectRow& row : report.files) {
    json.begin_object().field("file", row.file).field("kind", row.kind).field("state", row.state);
    json.field("shard", row.shard).field("first", row.first).field("last", row.last);
    json.field("events", row.events).field("bytes", row.bytes);
    json.field("oldest_ms", row.oldest_ms).field("newest_ms", row.newest_ms).end_object();
  }
  json.end_array().key("lanes").begin_array();
  for (const storage::LaneState& lane : report.lanes) {
    json.begin_object().field("name", lane.name);
    json.field("kind", lane.kind == storage::LaneKind::kConsumer ? "consumer" : "destination");
    json.field("sent", lane.counts.sent).field("failed", lane.counts.failed);
    json.field("expired", lane.counts.expired).field("skipped", lane.counts.skipped);
    json.key("shards").begin_array();
    for (const storage::LaneShard& shard : lane.shards)
      json.begin_object()
          .field("frontier", shard.frontier)
          .field("low", shard.low())
          .field("open_batches", shard.open.size())
          .end_object();
    json.end_array().end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

// One line: the position, the canonical fields and the client's own object.
std::string event_line(const storage::StoredEvent& event) {
  JsonWriter json;
  json.begin_object().field("seq", event.position.text());
  json.field("received_at", format_rfc3339_ms(event.received_ms));
  EventFields fields;
  if (!decode_event_record(event.payload, &fields)) {
    json.field("error", "this build cannot read the record").end_object();
    return json.take() + "\n";
  }
#define WEIR_WRITE_FIELD(member, tag, name)                           \
  if (!fields.member.empty() && std::string_view(name) != "envelope") \
    json.field(name, fields.member);
  WEIR_EVENT_TEXT_FIELDS(WEIR_WRITE_FIELD)
#undef WEIR_WRITE_FIELD
  if (fields.timestamp_ms != 0) json.field("timestamp", format_rfc3339_ms(fields.timestamp_ms));
  if (!fields.envelope.empty()) json.key("envelope").raw(fields.envelope);
  json.key("raw");
  if (fields.raw_encoding == RawEncoding::kJson)
    json.raw(fields.raw);
  else
    json.string(fields.raw);
  json.end_object();
  std::string line = json.take();
  // Outside of strings a line break is white space, inside of strings JSON has none.
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::replace(line.begin(), line.end(), '\r', ' ');
  return line + "\n";
}

int export_events(const std::string& directory) {
  bool written = true;
  const auto skipped = storage::export_store(directory, [&](const storage::StoredEvent& event) {
    const std::string line = event_line(event);
    written = std::fwrite(line.data(), 1, line.size(), stdout) == line.size();
    return written;
  });
  written = std::fflush(stdout) == 0 && written;
  if (!skipped) {
    complain(skipped.error().message);
    return kFailed;
  }
  for (const std::string& reason : *skipped) complain("left out: " + reason);
  if (!written) complain("cannot write to standard output");
  return written && skipped->empty() ? kDone : kFailed;
}

struct StoreFlags {
  OptionFlags options;
  // The data directory as serve would use it.
  bool directory(const Hooks& hooks, std::string* out, int* exit_code) const {
    options::Sources sources;
    options::LoadResult result;
    if (!options.to_sources(&sources)) {
      *exit_code = kUsage;
      return false;
    }
    if (!load_or_explain(sources, hooks, &result)) {
      *exit_code = kFailed;
      return false;
    }
    *out = result.options.store.directory;
    return true;
  }
};

template <class Report>
void finish(const Result<Report>& report, Context& context, std::string (*text)(const Report&),
            std::string (*json)(const Report&)) {
  if (!report) {
    complain(report.error().message);
    context.exit_code = kFailed;
    return;
  }
  print(context.json ? json(*report) : text(*report));
}

}  // namespace

void add_store(CLI::App& app, Context& context) {
  CLI::App* store = app.add_subcommand("store", "Look into a data directory; safe while serving");
  store->require_subcommand(1);
  auto flags = std::make_shared<StoreFlags>();

  CLI::App* inspect = store->add_subcommand("inspect", "What is where: files, positions, counts");
  flags->options.add_to(*inspect);
  add_json_flag(*inspect, context);
  inspect->callback([flags, &context] {
    std::string directory;
    if (flags->directory(context.hooks, &directory, &context.exit_code))
      finish(storage::inspect_store(directory), context, inspect_text, inspect_json);
  });

  CLI::App* verify =
      store->add_subcommand("verify", "Check every record and every cross-reference");
  flags->options.add_to(*verify);
  add_json_flag(*verify, context);
  verify->callback([flags, &context] {
    std::string directory;
    if (!flags->directory(context.hooks, &directory, &context.exit_code)) return;
    const auto report = storage::verify_store(directory);
    finish(report, context, verify_text, verify_json);
    if (report && !report->ok()) context.exit_code = kFailed;
  });

  CLI::App* dump = store->add_subcommand("export", "Every event, one JSON object a line");
  flags->options.add_to(*dump);
  add_json_flag(*dump, context);
  dump->callback([flags, &context] {
    std::string directory;
    if (flags->directory(context.hooks, &directory, &context.exit_code))
      context.exit_code = export_events(directory);
  });
}

}  // namespace weir::cli
