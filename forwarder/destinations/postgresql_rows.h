// An event as a row of PostgreSQL: the columns, the statements that make the table, and a batch in
// the text format of COPY. No client library here.
// Path: warm (per event and destination).  Thread: the object belongs to one.
#pragma once

#include <string>
#include <string_view>

#include "forwarder/destination.h"

namespace weir::forwarder {

// A table's name, checked: schema.table or table, plain identifiers.
struct PostgresqlTable {
  std::string schema;  // empty: the search path's first
  std::string name;

  std::string quoted() const;
  // The partition of one day, "2023-11-14".
  std::string partition(std::string_view day) const;
};
// At most 50 characters, so that a partition's name fits into PostgreSQL's 63.
Result<PostgresqlTable> parse_postgresql_table(std::string_view name);

std::string create_table_sql(const PostgresqlTable& table);
std::string create_partition_sql(const PostgresqlTable& table, std::string_view day);
std::string stage_sql(const PostgresqlTable& table);   // the temporary table a batch is copied into
std::string copy_sql();                                // COPY into it
std::string insert_sql(const PostgresqlTable& table);  // from there, what is new
extern const std::string_view kStagedDaysSql;

// The day after "2023-11-14".
std::string next_day(std::string_view day);

// PostgreSQL's text holds neither NUL nor invalid UTF-8: both become U+FFFD; raw keeps what came.
class PostgresqlEncoder : public Encoder {
 public:
  explicit PostgresqlEncoder(std::string_view store_id) : store_id_(store_id) {}
  void begin(std::string_view batch_id) override;
  void add(const storage::StoredEvent& event, const EventFields& fields) override;
  size_t bytes() const override { return buffer_.size(); }
  Status finish(std::string* body) override;

 private:
  void column(std::string_view text);
  void nullable(std::string_view text);  // empty: NULL

  const std::string store_id_;
  std::string buffer_;
  std::string text_;   // of the column in hand
  std::string clean_;  // the same when it had to be cleaned
};

}  // namespace weir::forwarder
