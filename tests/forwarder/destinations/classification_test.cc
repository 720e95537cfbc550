// What each kind of receiver may answer, and what follows from it: the tables of
// docs/destinations.md.
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include "forwarder/destinations/clickhouse.h"
#include "forwarder/destinations/kafka.h"
#include "forwarder/destinations/postgresql.h"
#include "forwarder/destinations/redis.h"

namespace weir::forwarder {
namespace {

constexpr auto kRetry = OutcomeKind::kRetry;
constexpr auto kSplit = OutcomeKind::kSplit;
constexpr auto kReject = OutcomeKind::kReject;

TEST(ClassifyPostgresql, RowsAreSplitServersAreRetried) {
  struct Row {
    const char* sqlstate;
    const char* constraint;
    OutcomeKind kind;
  };
  for (const Row& row : {Row{"22021", "", kSplit},          // a byte that text cannot hold
                         Row{"22P02", "", kSplit},          // no number
                         Row{"22001", "", kSplit},          // too long
                         Row{"23502", "", kSplit},          // null
                         Row{"23514", "positive", kSplit},  // a check of the user's
                         Row{"54000", "", kSplit},          // a row too large
                         Row{"23514", "", kRetry},          // no partition for the row
                         Row{"40001", "", kRetry},          // serialization
                         Row{"40P01", "", kRetry},          // deadlock
                         Row{"42P01", "", kRetry},          // no such table
                         Row{"42501", "", kRetry},          // no privilege
                         Row{"28P01", "", kRetry},          // wrong password
                         Row{"53100", "", kRetry},          // disk full
                         Row{"53300", "", kRetry},          // too many connections
                         Row{"57P01", "", kRetry},          // shutting down
                         Row{"57P03", "", kRetry}}) {       // starting up
    EXPECT_EQ(classify_postgresql({row.sqlstate, "m", row.constraint}, 2).kind, row.kind)
        << row.sqlstate;
    EXPECT_EQ(classify_postgresql({row.sqlstate, "m", row.constraint}, 1).kind,
              row.kind == kSplit ? kReject : kRetry);
    EXPECT_EQ(classify_postgresql({row.sqlstate, "m", row.constraint}, 2).reason,
              std::string("sqlstate_") + row.sqlstate);
  }
  EXPECT_TRUE(classify_postgresql({"", "connection refused", ""}, 2).network);
}

HttpAnswer clickhouse_answer(int status, std::string_view snippet) {
  HttpAnswer answer;
  answer.status = status;
  answer.snippet = snippet;
  return answer;
}

TEST(ClassifyClickhouse, ItsOwnCodeCountsMoreThanTheStatus) {
  struct Row {
    int status;
    const char* text;
    OutcomeKind kind;
    const char* reason;
  };
  for (const Row& row :
       {Row{200, "", OutcomeKind::kDelivered, "delivered"},
        Row{200, "Code: 241, Memory limit", kRetry, "clickhouse_241"},
        Row{400, "Code: 41, e.displayText() = DB::Exception: Cannot parse", kSplit,
            "clickhouse_41"},
        Row{500, "Code: 117, e.displayText() = DB::Exception", kSplit, "clickhouse_117"},
        Row{500, "Code: 469. DB::Exception: Constraint", kSplit, "clickhouse_469"},
        Row{500, "Code: 252. DB::Exception: Too many parts", kSplit, "clickhouse_252"},
        Row{404, "Code: 60, e.displayText() = DB::Exception: Table", kRetry, "clickhouse_60"},
        Row{401, "Code: 192, Unknown user", kRetry, "clickhouse_192"},
        Row{403, "Code: 516. Authentication failed", kRetry, "clickhouse_516"},
        Row{500, "Code: 242. Table is in readonly mode", kRetry, "clickhouse_242"},
        Row{404, "not ClickHouse at all", kRetry, "http_404"},
        Row{503, "a proxy", kRetry, "http_503"}, Row{413, "a proxy", kSplit, "too_large"}}) {
    const Outcome outcome = classify_clickhouse(clickhouse_answer(row.status, row.text), 2, 0);
    EXPECT_EQ(outcome.kind, row.kind) << row.text;
    EXPECT_EQ(outcome.reason, row.reason);
  }
  EXPECT_EQ(classify_clickhouse(clickhouse_answer(400, "Code: 27, x"), 1, 0).kind, kReject);
}

TEST(ClassifyRedis, NothingButSizeFailsAnEvent) {
  struct Row {
    const char* text;
    const char* reason;
  };
  for (const Row& row :
       {Row{"OOM command not allowed when used memory > 'maxmemory'.", "redis_oom"},
        Row{"ERR Error running script (call to f_1): @user_script:1: -OOM command", "redis_oom"},
        Row{"READONLY You can't write against a read only replica.", "redis_readonly"},
        Row{"LOADING Redis is loading the dataset in memory", "redis_loading"},
        Row{"MISCONF Redis is configured to save RDB snapshots", "redis_misconf"},
        Row{"WRONGTYPE Operation against a key", "redis_wrongtype"},
        Row{"NOAUTH Authentication required.", "redis_noauth"},
        Row{"WRONGPASS invalid username-password pair", "redis_wrongpass"},
        Row{"ERR unknown command", "redis_error"}}) {
    const Outcome outcome = classify_redis(row.text, 2);
    EXPECT_EQ(outcome.kind, kRetry) << row.text;
    EXPECT_EQ(outcome.reason, row.reason);
  }
  EXPECT_EQ(classify_redis("ERR Protocol error: invalid bulk length", 2).kind, kSplit);
  EXPECT_EQ(classify_redis("ERR Protocol error: invalid bulk length", 1).kind, kReject);
}

TEST(ClassifyKafka, MessagesAreSplitBrokersAreRetried) {
  struct Row {
    int error;
    OutcomeKind kind;
    const char* reason;
  };
  for (const Row& row : {Row{RD_KAFKA_RESP_ERR_NO_ERROR, OutcomeKind::kDelivered, "delivered"},
                         Row{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, kSplit, "too_large"},
                         Row{RD_KAFKA_RESP_ERR_INVALID_RECORD, kSplit, "kafka_invalid"},
                         Row{RD_KAFKA_RESP_ERR__QUEUE_FULL, kRetry, "queue_full"},
                         Row{RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, kRetry, "network"},
                         Row{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, kRetry, "kafka_error"},
                         Row{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, kRetry, "kafka_error"},
                         Row{RD_KAFKA_RESP_ERR__FATAL, kRetry, "kafka_error"}}) {
    const Outcome outcome = classify_kafka(row.error, "NAME", "text", 2);
    EXPECT_EQ(outcome.kind, row.kind) << row.error;
    EXPECT_EQ(outcome.reason, row.reason) << row.error;
  }
}

TEST(Addresses, OfRedis) {
  const auto full = parse_redis_url("redis://cache.example:6380/3");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->host, "cache.example");
  EXPECT_EQ(full->port, 6380);
  EXPECT_EQ(full->database, 3);
  EXPECT_EQ(parse_redis_url("redis://h")->port, 6379);
  EXPECT_EQ(parse_redis_url("redis://h/")->database, 0);
  EXPECT_EQ(parse_redis_url("redis://[::1]:7000")->host, "::1");
  EXPECT_EQ(parse_redis_url("redis://[::1]")->port, 6379);
  EXPECT_EQ(parse_redis_url("unix:///run/redis.sock?db=2")->socket, "/run/redis.sock");
  EXPECT_EQ(parse_redis_url("unix:///run/redis.sock?db=2")->database, 2);
  for (const char* bad :
       {"redis://", "redis://h:0", "redis://h:x", "redis://h:70000", "redis://h/x", "redis://:p@h",
        "unix://relative", "unix:///s?x=1", "http://h"})
    EXPECT_FALSE(parse_redis_url(bad)) << bad;
}

TEST(Addresses, OfKafka) {
  EXPECT_EQ(*kafka_brokers("kafka://a:9092,b:9093"), "a:9092,b:9093");
  for (const char* bad : {"kafka://", "a:9092", "kafka://a/topic", "kafka://u:p@a"})
    EXPECT_FALSE(kafka_brokers(bad)) << bad;
}

}  // namespace
}  // namespace weir::forwarder
