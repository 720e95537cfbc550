// Names of headers: the same but for the case of letters, and nothing else.
#include "collector/http/exchange.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>

namespace weir::http {
namespace {

TEST(HeaderName, IsTheSameInAnyCaseOfItsLettersAndInNoOtherWay) {
  for (const std::string name : {"te", "age", "host", "origin", "x-write-key", "content-length",
                                 "transfer-encoding", "access-control-request-method"}) {
    std::string upper = name;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    EXPECT_TRUE(header_is(name, name));
    EXPECT_TRUE(header_is(upper, name)) << upper;
    EXPECT_FALSE(header_is(name + "x", name));
    EXPECT_FALSE(header_is(name.substr(1), name));
    for (size_t at = 0; at < name.size(); ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string other = upper;
        other[at] = static_cast<char>(byte);
        EXPECT_EQ(header_is(other, name), other[at] == upper[at] || other[at] == name[at]) << other;
      }
    }
  }
}

}  // namespace
}  // namespace weir::http
