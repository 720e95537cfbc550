#include "forwarder/destinations/postgresql_rows.h"

#include <algorithm>

#include "forwarder/encoder.h"
#include "storage/base/clock.h"
#include "storage/base/utf8.h"

namespace weir::forwarder {
namespace {

constexpr size_t kMaxTableName = 50;

// In the order of PostgresqlEncoder::add().
constexpr std::string_view kColumns =
    R"(day, tenant, id, store_id, seq, name, source, "timestamp", received_at, session_id, user_id, )"
    R"(anonymous_id, shop_id, location_id, url, referrer, campaign_id, tracking_id, variant, ip, )"
    R"(user_agent, key, priority, envelope, raw_encoding, raw)";

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !text.empty() && text.size() <= kMaxTableName && letter(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::string quote(std::string_view schema, std::string_view name) {
  return schema.empty() ? fmt::format("\"{}\"", name) : fmt::format("\"{}\".\"{}\"", schema, name);
}

}  // namespace

const std::string_view kStagedDaysSql = "SELECT DISTINCT day::text FROM pg_temp.weir_stage";

std::string PostgresqlTable::quoted() const { return quote(schema, name); }

std::string PostgresqlTable::partition(std::string_view day) const {
  std::string digits(day);
  std::erase(digits, '-');
  return quote(schema, fmt::format("{}_p{}", name, digits));
}

Result<PostgresqlTable> parse_postgresql_table(std::string_view name) {
  PostgresqlTable table;
  const size_t dot = name.find('.');
  if (dot != std::string_view::npos) table.schema = name.substr(0, dot);
  table.name = name.substr(dot == std::string_view::npos ? 0 : dot + 1);
  if (!is_identifier(table.name) || (dot != std::string_view::npos && !is_identifier(table.schema)))
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" is not a table: use letters, digits and '_' (at most {}), and a schema "
                "before a dot where wanted",
                name, kMaxTableName);
  return table;
}

std::string create_table_sql(const PostgresqlTable& table) {
  return fmt::format(R"(CREATE TABLE IF NOT EXISTS {} (
  day date NOT NULL,
  tenant text NOT NULL,
  id text NOT NULL,
  store_id uuid NOT NULL,
  seq text NOT NULL,
  name text NOT NULL,
  source text NOT NULL,
  "timestamp" timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  session_id text, user_id text, anonymous_id text, shop_id text, location_id text,
  url text, referrer text, campaign_id text, tracking_id text, variant text,
  ip text, user_agent text, key text,
  priority text NOT NULL,
  envelope json,
  raw_encoding text,
  raw json,
  PRIMARY KEY (tenant, id, day)
) PARTITION BY RANGE (day))",
                     table.quoted());
}

std::string create_partition_sql(const PostgresqlTable& table, std::string_view day) {
  return fmt::format(
      "CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ('{}') TO ('{}')",
      table.partition(day), table.quoted(), day, next_day(day));
}

// The table's own types, so that what it would refuse is refused while a row can be named.
std::string stage_sql(const PostgresqlTable& table) {
  return fmt::format(
      "CREATE TEMP TABLE IF NOT EXISTS weir_stage ON COMMIT DELETE ROWS AS SELECT {} FROM {} "
      "WITH NO DATA",
      kColumns, table.quoted());
}

std::string copy_sql() { return fmt::format("COPY pg_temp.weir_stage ({}) FROM STDIN", kColumns); }

std::string insert_sql(const PostgresqlTable& table) {
  return fmt::format("INSERT INTO {} ({}) SELECT {} FROM pg_temp.weir_stage ON CONFLICT DO NOTHING",
                     table.quoted(), kColumns, kColumns);
}

std::string next_day(std::string_view day) {
  int64_t at_ms = 0;
  if (!parse_rfc3339_ms(fmt::format("{}T00:00:00Z", day), &at_ms)) return std::string(day);
  return format_rfc3339_ms(at_ms + 86'400'000).substr(0, day.size());
}

void PostgresqlEncoder::begin(std::string_view) { buffer_.clear(); }

// COPY's text format: tab between columns, \N for NULL, a backslash before what would be either.
void PostgresqlEncoder::column(std::string_view text) {
  text = printable_utf8(text, &clean_);
  if (!buffer_.empty() && buffer_.back() != '\n') buffer_.push_back('\t');
  for (;;) {
    const size_t special = std::min(text.find_first_of("\\\t\n\r"), text.size());
    buffer_ += text.substr(0, special);
    if (special == text.size()) return;
    const char c = text[special];
    buffer_.push_back('\\');
    buffer_.push_back(c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : c);
    text.remove_prefix(special + 1);
  }
}

void PostgresqlEncoder::nullable(std::string_view text) {
  if (!text.empty()) return column(text);
  buffer_ += "\t\\N";
}

void PostgresqlEncoder::add(const storage::StoredEvent& event, const EventFields& fields) {
  const std::string received = format_rfc3339_ms(event.received_ms);
  column(std::string_view(received).substr(0, received.find('T')));
  column(fields.tenant);
  text_.clear();
  append_event_id(text_, store_id_, event, fields);
  column(text_);
  column(store_id_);
  column(event.position.text());
  column(fields.name);
  column(fields.source);
  if (fields.timestamp_ms != 0)
    column(format_rfc3339_ms(fields.timestamp_ms));
  else
    column(received);
  column(received);
  for (const std::string_view text :
       {fields.session_id, fields.user_id, fields.anonymous_id, fields.shop_id, fields.location_id,
        fields.url, fields.referrer, fields.campaign_id, fields.tracking_id, fields.variant,
        fields.ip, fields.user_agent, fields.key_name})
    nullable(text);
  column(fields.priority == 0 ? "low" : fields.priority == 1 ? "normal" : "high");
  nullable(fields.envelope);
  nullable(raw_encoding_name(fields.raw_encoding));
  text_.clear();
  append_raw(text_, fields, false);
  column(text_);
  buffer_.push_back('\n');
}

Status PostgresqlEncoder::finish(std::string* body) {
  *body = buffer_;
  return {};
}

}  // namespace weir::forwarder
