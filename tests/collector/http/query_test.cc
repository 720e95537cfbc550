#include "collector/http/query.h"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

TEST(Query, MethodsRoundTripAndAreCaseSensitive) {
  for (Method method : {Method::kGet, Method::kHead, Method::kPost, Method::kPut, Method::kDelete,
                        Method::kOptions, Method::kPatch})
    EXPECT_EQ(method_from_token(method_name(method)), method);
  EXPECT_EQ(method_from_token("get"), Method::kOther);
  EXPECT_EQ(method_from_token("PROPFIND"), Method::kOther);
  EXPECT_EQ(method_from_token(""), Method::kOther);
}

TEST(Query, FormDecodingKeepsWhatIsNotAnEscape) {
  EXPECT_EQ(form_decode("a%20b+c"), "a b c");
  EXPECT_EQ(form_decode("100%"), "100%");
  EXPECT_EQ(form_decode("%4"), "%4");
  EXPECT_EQ(form_decode("%zz%41"), "%zzA");
  EXPECT_EQ(form_decode("%00"), std::string(1, '\0'));
  EXPECT_EQ(percent_decode("a+b%2B"), "a+b+");
}

TEST(Query, FindsTheFirstValueOfAKey) {
  EXPECT_EQ(query_value("a=1&key=x%20y&key=z", "key"), "x y");
  EXPECT_EQ(query_value("ke%79=v", "key"), "v");
  EXPECT_EQ(query_value("keyy=1&k=2", "key"), "");
  EXPECT_FALSE(query_find("a=1", "key").has_value());
  EXPECT_EQ(query_find("&&key&b", "key"), std::optional<std::string>(""));
  EXPECT_EQ(raw_query_value("a=1&key=x%20y", "key"), std::optional<std::string_view>("x%20y"));
  EXPECT_FALSE(raw_query_value("", "key").has_value());
}

TEST(Query, ReaderSkipsEmptyPieces) {
  QueryReader reader("&a=b=c&&d&=e");
  QueryPair pair;
  ASSERT_TRUE(reader.next(pair));
  EXPECT_EQ(pair.key, "a");
  EXPECT_EQ(pair.value, "b=c");
  ASSERT_TRUE(reader.next(pair));
  EXPECT_EQ(pair.key, "d");
  EXPECT_EQ(pair.value, "");
  ASSERT_TRUE(reader.next(pair));
  EXPECT_EQ(pair.key, "");
  EXPECT_EQ(pair.value, "e");
  EXPECT_FALSE(reader.next(pair));
}

}  // namespace
}  // namespace weir::http
