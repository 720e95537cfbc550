#include "forwarder/destinations/postgresql_rows.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/forwarder/sample_events.h"

namespace weir::forwarder {
namespace {

TEST(PostgresqlRows, ABatchIsTheGoldenFile) {
  PostgresqlEncoder encoder(testing::kStoreId);
  testing::expect_golden("batch.copy", testing::encode_samples(encoder));
}

TEST(PostgresqlRows, EveryRowHasEveryColumn) {
  PostgresqlEncoder encoder(testing::kStoreId);
  std::string_view rest;
  const std::string body = testing::encode_samples(encoder);
  rest = body;
  const std::string copy = copy_sql();
  const auto columns = std::count(copy.begin(), copy.end(), ',') + 1;
  size_t rows = 0;
  while (!rest.empty()) {
    const std::string_view row = rest.substr(0, rest.find('\n'));
    EXPECT_EQ(std::count(row.begin(), row.end(), '\t') + 1, columns) << row;
    rest.remove_prefix(row.size() + 1);
    ++rows;
  }
  EXPECT_EQ(rows, testing::sample_events().size());
}

TEST(PostgresqlRows, WhatTextCannotHoldBecomesAReplacementCharacter) {
  PostgresqlEncoder encoder("store");
  EventFields fields;
  fields.id = "e";
  fields.user_id = std::string_view("a\0b", 3);
  fields.user_agent = "Mot\xf6r\xc3\xb6";  // Latin-1, then UTF-8
  std::string body;
  encoder.begin("b");
  encoder.add({}, fields);
  ASSERT_TRUE(encoder.finish(&body));
  EXPECT_NE(body.find("\ta\xef\xbf\xbd"
                      "b\t"),
            std::string::npos);
  EXPECT_NE(body.find("\tMot\xef\xbf\xbdr\xc3\xb6\t"), std::string::npos);
  EXPECT_EQ(body.find('\0'), std::string::npos);
}

TEST(PostgresqlRows, ATableNameCannotCarryStatements) {
  EXPECT_EQ(parse_postgresql_table("events")->quoted(), "\"events\"");
  EXPECT_EQ(parse_postgresql_table("app.events")->partition("2023-11-14"),
            "\"app\".\"events_p20231114\"");
  for (const char* bad : {"", ".", "a.", ".a", "a.b.c", "a\"b", "a;b", "a b", "1a",
                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})
    EXPECT_FALSE(parse_postgresql_table(bad)) << bad;
}

TEST(PostgresqlRows, APartitionIsADay) {
  EXPECT_EQ(next_day("2023-12-31"), "2024-01-01");
  EXPECT_EQ(next_day("2024-02-28"), "2024-02-29");
  EXPECT_NE(create_partition_sql(*parse_postgresql_table("e"), "2023-11-14")
                .find("FOR VALUES FROM ('2023-11-14') TO ('2023-11-15')"),
            std::string::npos);
}

}  // namespace
}  // namespace weir::forwarder
