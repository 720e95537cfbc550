#include "forwarder/destinations/clickhouse.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <optional>
#include <utility>

#include "forwarder/compression.h"
#include "forwarder/destinations/clickhouse_rows.h"
#include "forwarder/destinations/http_client.h"
#include "forwarder/destinations/http_sends.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

// ClickHouse's numbers (src/Common/ErrorCodes.cpp); they are never renumbered.
constexpr int kUnknownTable = 60;
constexpr int kUnknownDatabase = 81;
constexpr int kUnknownSetting = 115;
constexpr int kRowErrors[] = {
    6,    // CANNOT_PARSE_TEXT
    25,   // CANNOT_PARSE_ESCAPE_SEQUENCE
    26,   // CANNOT_PARSE_QUOTED_STRING
    27,   // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    33,   // CANNOT_READ_ALL_DATA
    38,   // CANNOT_PARSE_DATE
    41,   // CANNOT_PARSE_DATETIME
    53,   // TYPE_MISMATCH
    69,   // ARGUMENT_OUT_OF_BOUND
    70,   // CANNOT_CONVERT_TYPE
    72,   // CANNOT_PARSE_NUMBER
    117,  // INCORRECT_DATA
    130,  // CANNOT_READ_ARRAY_FROM_TEXT
    131,  // TOO_LARGE_STRING_SIZE
    252,  // TOO_MANY_PARTS
    349,  // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376,  // CANNOT_PARSE_UUID
    441,  // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
    469,  // VIOLATED_CONSTRAINT
    675,  // CANNOT_PARSE_IPV4
    676,  // CANNOT_PARSE_IPV6
};

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_';
    if (plain)
      out.push_back(c);
    else
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

bool is_identifier(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

class ClickhouseDestination : public Destination {
 public:
  ClickhouseDestination(const DestinationOptions& options, Identity identity, const Clock& clock)
      : options_(options), identity_(std::move(identity)), clock_(clock) {}

  Status open() {
    for (const std::string* name : {&options_.database, &options_.table})
      if (!is_identifier(*name))
        return fail(ErrorCode::kInvalidArgument,
                    "destination {}: \"{}\" is not a name for a database or table: use letters, "
                    "digits and '_'",
                    options_.name, *name);
    WEIR_ASSIGN_OR_RETURN(compressor_, Compressor::make(options_.compression));
    WEIR_ASSIGN_OR_RETURN(client_, HttpClient::make(options_, clock_));
    return {};
  }

  std::unique_ptr<Encoder> make_encoder() override {
    return std::make_unique<ClickhouseEncoder>(identity_.store_id, *compressor_);
  }

  void send(Send& send) override {
    if (stage_ == Stage::kReady) return insert(send);
    waiting_.push_back(&send);
    if (stage_ == Stage::kUnknown) probe();
  }

  Send* take_finished() override {
    HttpRequest* finished = client_->take_finished();
    take_setup_answer(&finished);
    Send* sends = sends_.finished(finished, [&](const HttpRequest& request, Send& send) {
      send.outcome = classify_clickhouse(request.answer(), send.events, clock_.wall_ms());
      const int code =
          send.outcome.kind == OutcomeKind::kDelivered ? 0 : clickhouse_error_code(request.snippet);
      // Somebody dropped it, or another server answers now: look again before the next batch.
      if (code == kUnknownTable || code == kUnknownDatabase || code == kUnknownSetting)
        stage_ = Stage::kUnknown;
    });
    // Those that waited for a setup that failed.
    for (; !refused_.empty(); refused_.pop_front()) {
      refused_.front()->next = sends;
      sends = refused_.front();
    }
    return sends;
  }

  void abandon() override {
    client_->abandon();
    sends_.forget();
    waiting_.clear();
    refused_.clear();
    if (stage_ != Stage::kReady) stage_ = Stage::kUnknown;
  }

  int poll_fd() const override { return client_->poll_fd(); }
  int64_t deadline_ns() const override { return client_->deadline_ns(); }

 private:
  enum class Stage : uint8_t { kUnknown, kProbing, kCreating, kReady };

  void query(HttpRequest& request, const std::string& parameters) {
    request.url = options_.url;
    request.url += options_.url.find('?') == std::string::npos ? '?' : '&';
    request.url += parameters;
    if (!options_.user.empty()) request.headers.push_back("X-ClickHouse-User: " + options_.user);
    if (!options_.password.empty())
      request.headers.push_back("X-ClickHouse-Key: " + options_.password);
    client_->start(request);
  }

  void setup(Stage stage, std::string sql) {
    stage_ = stage;
    setup_sql_ = std::move(sql);
    setup_ = HttpRequest();
    setup_.body = setup_sql_;
    query(setup_, "wait_end_of_query=1");
  }

  void probe() {
    setup(Stage::kProbing,
          "SELECT count() FROM system.settings WHERE name = 'insert_deduplication_token'");
  }

  // Takes the answer of probe or create out of the chain and goes on from it.
  void take_setup_answer(HttpRequest** chain) {
    while (*chain != nullptr && *chain != &setup_) chain = &(*chain)->next;
    if (*chain == nullptr) return;
    *chain = setup_.next;
    const bool answered = setup_.error.empty() && setup_.status == 200;
    if (answered && stage_ == Stage::kProbing) {
      tokens_ = setup_.snippet.starts_with('1');
      if (options_.create_table)
        return setup(Stage::kCreating,
                     clickhouse_create_sql(options_.database, options_.table, tokens_));
    }
    stage_ = answered ? Stage::kReady : Stage::kUnknown;
    if (!answered)
      for (Send* send : waiting_) refuse(*send);
    else
      for (Send* send : waiting_) insert(*send);
    waiting_.clear();
  }

  void refuse(Send& send) {
    send.outcome = classify_clickhouse(setup_.answer(), send.events, clock_.wall_ms());
    // Not about an event, whatever the answer looks like.
    send.outcome.kind = OutcomeKind::kRetry;
    send.duration_ns = setup_.duration_ns;
    refused_.push_back(&send);
  }

  void insert(Send& send) {
    HttpRequest& request = sends_.take(send);
    request.body = send.body;
    const std::string_view encoding = content_encoding(options_.compression);
    if (!encoding.empty()) request.headers.push_back(fmt::format("Content-Encoding: {}", encoding));
    const std::string sql =
        fmt::format("INSERT INTO {}.{} FORMAT JSONEachRow", options_.database, options_.table);
    std::string parameters = "query=" + percent_encoded(sql);
    parameters += "&input_format_skip_unknown_fields=1&wait_end_of_query=1";
    if (tokens_)
      parameters +=
          "&insert_deduplicate=1&insert_deduplication_token=" + percent_encoded(send.batch_id);
    query(request, parameters);
  }

  const DestinationOptions options_;
  const Identity identity_;
  const Clock& clock_;
  std::unique_ptr<Compressor> compressor_;
  Stage stage_ = Stage::kUnknown;
  bool tokens_ = false;
  std::deque<Send*> waiting_;  // for the setup; at most `concurrency`
  std::deque<Send*> refused_;  // because it failed
  std::string setup_sql_;
  HttpRequest setup_;
  HttpSends sends_;  // these before the client, which refers to them
  std::unique_ptr<HttpClient> client_;
};

}  // namespace

int clickhouse_error_code(std::string_view snippet) {
  constexpr std::string_view kBegin = "Code: ";
  const size_t at = snippet.find(kBegin);
  if (at == std::string_view::npos) return 0;
  int code = 0;
  std::from_chars(snippet.data() + at + kBegin.size(), snippet.data() + snippet.size(), code);
  return code;
}

Outcome classify_clickhouse(const HttpAnswer& answer, uint64_t events, int64_t now_wall_ms) {
  Outcome outcome = classify_http(answer, events, now_wall_ms);
  const int code = clickhouse_error_code(answer.snippet);
  if (outcome.network || outcome.too_large || (answer.status <= 299 && code == 0)) return outcome;
  const bool about_row =
      std::find(std::begin(kRowErrors), std::end(kRowErrors), code) != std::end(kRowErrors);
  outcome.kind = !about_row   ? OutcomeKind::kRetry
                 : events > 1 ? OutcomeKind::kSplit
                              : OutcomeKind::kReject;
  outcome.about_address = false;
  if (code != 0) outcome.reason = fmt::format("clickhouse_{}", code);
  return outcome;
}

std::string clickhouse_create_sql(std::string_view database, std::string_view table, bool tokens) {
  return fmt::format(R"(CREATE TABLE IF NOT EXISTS {}.{} (
  tenant String,
  id String,
  store_id String,
  seq String,
  name String,
  source String,
  timestamp DateTime,
  timestamp_ms Int64,
  received_at DateTime,
  received_at_ms Int64,
  session_id String, user_id String, anonymous_id String, shop_id String, location_id String,
  url String, referrer String, campaign_id String, tracking_id String, variant String,
  ip String, user_agent String, key String,
  priority String,
  envelope String,
  raw_encoding String,
  raw String
) ENGINE = ReplacingMergeTree() PARTITION BY toYYYYMM(received_at) ORDER BY (tenant, id){})",
                     database, table,
                     tokens ? " SETTINGS non_replicated_deduplication_window = 10000" : "");
}

Result<std::unique_ptr<Destination>> make_clickhouse_destination(const DestinationOptions& options,
                                                                 const Identity& identity,
                                                                 const Clock& clock) {
  auto destination = std::make_unique<ClickhouseDestination>(options, identity, clock);
  WEIR_RETURN_IF_ERROR(destination->open());
  return destination;
}

}  // namespace weir::forwarder
