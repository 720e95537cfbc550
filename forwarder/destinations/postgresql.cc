#include "forwarder/destinations/postgresql.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "forwarder/destinations/postgresql_rows.h"
#include "forwarder/destinations/threaded.h"
#include "forwarder/limits.h"

namespace weir::forwarder {
namespace {

struct FreeConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct FreeResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Answer = std::unique_ptr<PGresult, FreeResult>;

// An error message on one line.
std::string one_line(std::string_view text) {
  std::string out(text.substr(0, kMaxSnippetBytes));
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

Outcome network(std::string detail) {
  Outcome outcome;
  outcome.network = true;
  outcome.reason = "network";
  outcome.detail = std::move(detail);
  return outcome;
}

std::string_view field_of(const PGresult* result, int field) {
  const char* text = PQresultErrorField(result, field);
  return text == nullptr ? std::string_view() : std::string_view(text);
}

extern "C" void weir_ignore_notice(void*, const char*) {}

class PostgresqlSink : public BlockingSink {
 public:
  PostgresqlSink(const DestinationOptions& options, PostgresqlTable table, const Clock& clock)
      : options_(options), table_(std::move(table)), clock_(clock) {}

  Outcome deliver(std::string_view, std::string_view body, uint64_t events,
                  const Cancel& cancel) override {
    events_ = events;
    cancel_ = &cancel;
    std::optional<Outcome> failed = connect();
    deadline_ns_ = after_ms(options_.request_timeout_ms);
    if (!failed) failed = transaction(body);
    if (!failed && !missing_days_.empty()) {
      // Once a day: outside of the batch's transaction, so that its locks are held only shortly.
      for (const std::string& day : missing_days_)
        if (!failed) failed = make_partition(day);
      if (!failed) failed = transaction(body);
    }
    if (!failed) {
      Outcome outcome;
      outcome.kind = OutcomeKind::kDelivered;
      outcome.reason = "delivered";
      return outcome;
    }
    // A row was refused, nothing else is wrong: the connection goes on. Otherwise nobody knows what
    // it is in the middle of, and whether table and partitions are what they were.
    const bool about_row = failed->kind != OutcomeKind::kRetry;
    if (!about_row || run("ROLLBACK")) connection_.reset();
    return *failed;
  }

 private:
  int64_t after_ms(int64_t ms) const { return clock_.monotonic_ns() + ms * 1'000'000; }

  std::optional<Outcome> connect() {
    if (connection_ && PQstatus(connection_.get()) == CONNECTION_OK) return std::nullopt;
    deadline_ns_ = after_ms(options_.connect_timeout_ms);
    days_.clear();
    std::vector<const char*> names = {"dbname", "application_name", "client_encoding"};
    std::vector<const char*> values = {options_.url.c_str(), "weir", "UTF8"};
    if (!options_.user.empty()) names.push_back("user"), values.push_back(options_.user.c_str());
    if (!options_.password.empty())
      names.push_back("password"), values.push_back(options_.password.c_str());
    names.push_back(nullptr);
    values.push_back(nullptr);
    connection_.reset(PQconnectStartParams(names.data(), values.data(), /*expand_dbname=*/1));
    PGconn* const connection = connection_.get();
    if (connection == nullptr) return network("libpq has no memory for a connection");
    for (auto step = PGRES_POLLING_WRITING; step != PGRES_POLLING_OK;) {
      if (step == PGRES_POLLING_FAILED || PQstatus(connection) == CONNECTION_BAD)
        return network(one_line(PQerrorMessage(connection)));
      if (const auto failed = wait(step == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                                   "no connection within connect_timeout"))
        return failed;
      step = PQconnectPoll(connection);
    }
    PQsetnonblocking(connection, 1);
    // "relation already exists, skipping" is what we want to hear, not what the log needs.
    PQsetNoticeProcessor(connection, &weir_ignore_notice, nullptr);
    deadline_ns_ = after_ms(options_.request_timeout_ms);
    // Committed must mean on disk, whatever the server's or the role's default says.
    if (auto failed = run("SELECT set_config('synchronous_commit', 'on', false) "
                          "WHERE current_setting('synchronous_commit') = 'off'"))
      return failed;
    if (options_.create_table)
      if (auto failed = create(create_table_sql(table_))) return failed;
    return run(stage_sql(table_));
  }

  // Fills missing_days_ and leaves nothing behind when a partition is missing.
  std::optional<Outcome> transaction(std::string_view body) {
    missing_days_.clear();
    if (auto failed = run("BEGIN")) return failed;
    if (auto failed = copy(body)) return failed;
    if (options_.create_table) {
      Answer days;
      if (auto failed = run(std::string(kStagedDaysSql), &days)) return failed;
      for (int row = 0; row < PQntuples(days.get()); ++row) {
        std::string day = PQgetvalue(days.get(), row, 0);
        if (!days_.contains(day)) missing_days_.push_back(std::move(day));
      }
      if (!missing_days_.empty()) return run("ROLLBACK");
    }
    if (auto failed = run(insert_sql(table_))) return failed;
    return run("COMMIT");
  }

  std::optional<Outcome> make_partition(const std::string& day) {
    auto failed = create(create_partition_sql(table_, day));
    if (!failed) days_.insert(day);
    return failed;
  }

  // Somebody else may be making the same at the same time: one of us is told that it exists.
  std::optional<Outcome> create(const std::string& sql) {
    auto failed = run(sql);
    const bool exists = failed && (last_sqlstate_ == "42P07" || last_sqlstate_ == "23505" ||
                                   last_sqlstate_ == "42710");
    return exists ? std::nullopt : failed;
  }

  std::optional<Outcome> copy(std::string_view body) {
    PGconn* const connection = connection_.get();
    if (auto failed = run(copy_sql())) return failed;
    while (!body.empty()) {
      const auto piece = static_cast<int>(std::min<size_t>(body.size(), kPieceBytes));
      const int taken = PQputCopyData(connection, body.data(), piece);
      if (taken < 0) return network(one_line(PQerrorMessage(connection)));
      if (taken == 1) body.remove_prefix(static_cast<size_t>(piece));
      if (auto failed = flush()) return failed;
    }
    for (int ended = 0; ended == 0;) {
      ended = PQputCopyEnd(connection, nullptr);
      if (ended < 0) return network(one_line(PQerrorMessage(connection)));
      if (auto failed = flush()) return failed;
    }
    return drain(nullptr);
  }

  std::optional<Outcome> run(const std::string& sql, Answer* answer = nullptr) {
    if (PQsendQuery(connection_.get(), sql.c_str()) != 1)
      return network(one_line(PQerrorMessage(connection_.get())));
    return drain(answer);
  }

  // Every result of the command that was sent, to its end or to where COPY wants data.
  std::optional<Outcome> drain(Answer* answer) {
    PGconn* const connection = connection_.get();
    std::optional<Outcome> failed;
    for (;;) {
      if (auto broken = flush()) return broken;
      while (PQisBusy(connection) == 1) {
        if (auto broken = wait(POLLIN, "no answer within request_timeout")) return broken;
        if (PQconsumeInput(connection) != 1) return network(one_line(PQerrorMessage(connection)));
      }
      Answer result(PQgetResult(connection));
      if (!result) return failed;
      switch (PQresultStatus(result.get())) {
        case PGRES_COPY_IN:
          return failed;
        case PGRES_COMMAND_OK:
          break;
        case PGRES_TUPLES_OK:
          if (answer != nullptr) *answer = std::move(result);
          break;
        default:
          if (!failed) failed = judge(result.get());
      }
    }
  }

  Outcome judge(const PGresult* result) {
    last_sqlstate_ = field_of(result, PG_DIAG_SQLSTATE);
    const std::string message = one_line(PQresultErrorMessage(result));
    return classify_postgresql({last_sqlstate_, message, field_of(result, PG_DIAG_CONSTRAINT_NAME)},
                               events_);
  }

  std::optional<Outcome> flush() {
    PGconn* const connection = connection_.get();
    while (const int left = PQflush(connection)) {
      if (left < 0) return network(one_line(PQerrorMessage(connection)));
      // The server may have to say something before it reads on.
      if (auto failed = wait(POLLIN | POLLOUT, "the server does not read")) return failed;
      if (PQconsumeInput(connection) != 1) return network(one_line(PQerrorMessage(connection)));
    }
    return std::nullopt;
  }

  std::optional<Outcome> wait(short events, std::string_view timeout_text) {
    const int fd = PQsocket(connection_.get());
    if (fd < 0) return network("the connection is gone");
    switch (wait_for(fd, events, deadline_ns_, *cancel_, clock_)) {
      case Waited::kTimeout:
        return network(std::string(timeout_text));
      case Waited::kCancelled:
        return network("given up");
      case Waited::kReady:
        break;
    }
    return std::nullopt;
  }

  static constexpr size_t kPieceBytes = size_t{256} << 10;

  const DestinationOptions options_;
  const PostgresqlTable table_;
  const Clock& clock_;
  std::unique_ptr<PGconn, FreeConnection> connection_;
  std::set<std::string> days_;  // whose partitions are known to be there
  std::vector<std::string> missing_days_;
  std::string last_sqlstate_;
  // Of the delivery in hand.
  uint64_t events_ = 0;
  const Cancel* cancel_ = nullptr;
  int64_t deadline_ns_ = 0;
};

}  // namespace

Outcome classify_postgresql(const PostgresqlError& error, uint64_t events) {
  Outcome outcome;
  outcome.detail = error.message;
  if (error.sqlstate.empty()) {
    outcome.network = true;
    outcome.reason = "network";
    return outcome;
  }
  outcome.reason = fmt::format("sqlstate_{}", error.sqlstate);
  const std::string_view group = error.sqlstate.substr(0, 2);
  // A check violation without a constraint's name is "no partition of relation found for row".
  const bool about_row =
      group == "22" || group == "54" ||
      (group == "23" && !(error.sqlstate == "23514" && error.constraint.empty()));
  if (about_row) outcome.kind = events > 1 ? OutcomeKind::kSplit : OutcomeKind::kReject;
  return outcome;
}

Result<std::unique_ptr<Destination>> make_postgresql_destination(const DestinationOptions& options,
                                                                 const Identity& identity,
                                                                 const Clock& clock) {
  auto table = parse_postgresql_table(options.table);
  if (!table)
    return fail(ErrorCode::kInvalidArgument, "destination {}: {}", options.name,
                table.error().message);
  std::vector<std::unique_ptr<BlockingSink>> sinks;
  for (unsigned i = 0; i < options.concurrency; ++i)
    sinks.push_back(std::make_unique<PostgresqlSink>(options, *table, clock));
  const auto make_encoder = [identity] {
    return std::make_unique<PostgresqlEncoder>(identity.store_id);
  };
  return std::make_unique<ThreadedDestination>("weir-pg", std::move(sinks), make_encoder, clock);
}

}  // namespace weir::forwarder
