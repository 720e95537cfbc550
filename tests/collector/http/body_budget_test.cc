// The budget bodies are charged to: what is reserved comes back, whoever ends up owning the body.
#include <gtest/gtest.h>

#include <cstring>

#include "collector/http/server.h"

namespace weir::http {
namespace {

TEST(BodyBudget, ChargeReturnsWhenTheLastOwnerGoes) {
  BodyBudget budget(1 << 20);
  {
    Body body;
    ASSERT_TRUE(budget.reserve(body, 100));
    EXPECT_GE(budget.used(), 100u);
    Body other = std::move(body);
    EXPECT_GE(budget.used(), 100u);
    EXPECT_EQ(body.size(), 0u);
  }
  EXPECT_EQ(budget.used(), 0u);
}

TEST(BodyBudget, ExhaustedBudgetRefusesAndChargesNothing) {
  BodyBudget budget(50'000);
  Body body;
  EXPECT_FALSE(budget.reserve(body, 60'000));
  EXPECT_EQ(budget.used(), 0u);
  ASSERT_TRUE(budget.reserve(body, 30'000));
  Body second;
  EXPECT_FALSE(budget.reserve(second, 30'000));
  budget.release(body);
  EXPECT_TRUE(budget.reserve(second, 30'000));
}

TEST(BodyBudget, GrowKeepsContentsAndFailsWithoutLosingThem) {
  BodyBudget budget(40'000);
  Body body;
  ASSERT_TRUE(budget.reserve(body, 10));
  std::memcpy(body.data(), "0123456789", 10);
  BodyBudget::set_size(body, 10);
  ASSERT_TRUE(budget.grow(body, 20'000));
  EXPECT_EQ(body.view(), "0123456789");
  EXPECT_FALSE(budget.grow(body, 60'000));
  EXPECT_EQ(body.view(), "0123456789");
}

TEST(BodyBudget, PaddingBehindTheBodyIsZeroEvenInAReusedBlock) {
  BodyBudget budget(1 << 20);
  for (int round = 0; round < 3; ++round) {
    Body body;
    ASSERT_TRUE(budget.reserve(body, 500));
    std::memset(body.data(), 'x', 500 + Body::kPadding);
    BodyBudget::set_size(body, 7);
    for (size_t i = 0; i < Body::kPadding; ++i) EXPECT_EQ(body.data()[7 + i], '\0');
  }
}

}  // namespace
}  // namespace weir::http
