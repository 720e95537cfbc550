#include "storage/base/url_text.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(UrlText, WhoLogsInIsNotShown) {
  EXPECT_EQ(url_text("http://user:pass@host:8080/in?a=b"), "http://(secret)@host:8080/in?a=b");
  EXPECT_EQ(url_text("https://token@host"), "https://(secret)@host");
  EXPECT_EQ(url_text("postgresql://me:p@ss:word@db/x"), "postgresql://(secret)@db/x");
  EXPECT_EQ(url_text("user:pass@host/in"), "(secret)@host/in");  // the scheme was forgotten
}

TEST(UrlText, NorWhatAQueryParameterCarries) {
  EXPECT_EQ(url_text("https://h/in?Api_Key=1&a=2&sslpassword=3#top"),
            "https://h/in?Api_Key=(secret)&a=2&sslpassword=(secret)#top");
  EXPECT_EQ(url_text("https://h/?access_token="), "https://h/?access_token=(secret)");
}

TEST(UrlText, EverythingElseStays) {
  for (const char* url : {"http://host/a@b?c=d@e", "unix:///run/redis.sock?db=1", "kafka://a:1,b:2",
                          "", "http://", "?", "no url at all", "http://h/?a&b=&c"})
    EXPECT_EQ(url_text(url), url);
}

}  // namespace
}  // namespace weir
