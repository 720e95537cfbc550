#include "forwarder/signature.h"

#include <gtest/gtest.h>

namespace weir::forwarder {
namespace {

// Checked against: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
TEST(Signature, IsHmacSha256OfTimeAndBody) {
  EXPECT_EQ(make_signature("secret", 1'700'000'000, R"({"a":1})"),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686");
}

TEST(Signature, DependsOnKeyTimeAndEveryByte) {
  const std::string one = make_signature("k", 1, "body");
  EXPECT_NE(one, make_signature("K", 1, "body"));
  EXPECT_NE(one.substr(one.find("v1=")), make_signature("k", 2, "body").substr(one.find("v1=")));
  EXPECT_NE(one, make_signature("k", 1, std::string("body\0", 5)));
}

}  // namespace
}  // namespace weir::forwarder
