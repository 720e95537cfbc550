// The order in which readiness, low and normal events go, and that no step is skipped.
#include "storage/pressure.h"

#include <gtest/gtest.h>

namespace weir::storage {
namespace {

using Level = PressureLevel;

constexpr int64_t kStep = PressureSteps::kStepNs;

TEST(Pressure, ReadinessGoesBeforeLowAndLowBeforeNormal) {
  const PressureLimits limits{80, 85, 92};
  EXPECT_EQ(pressure_level(79, limits), Level::kNone);
  EXPECT_EQ(pressure_level(80, limits), Level::kNotReady);
  EXPECT_EQ(pressure_level(85, limits), Level::kShedLow);
  EXPECT_EQ(pressure_level(92, limits), Level::kShedNormal);
  EXPECT_EQ(pressure_level(1000, limits), Level::kShedNormal);
}

TEST(Pressure, EqualMarksMeanThatAStepIsLeftOut) {
  const PressureLimits limits{90, 100, 100};
  EXPECT_EQ(pressure_level(99, limits), Level::kNotReady);
}

TEST(Pressure, RisesOneStepAtATimeSoThatReadinessIsRedBeforeTheFirstRefusal) {
  PressureSteps steps({80, 85, 92});
  int64_t now = 0;
  EXPECT_EQ(steps.look(99, now), Level::kNotReady);
  EXPECT_TRUE(steps.rising());
  EXPECT_EQ(steps.look(99, now + kStep - 1), Level::kNotReady);
  EXPECT_EQ(steps.look(99, now += kStep), Level::kShedLow);
  EXPECT_EQ(steps.look(99, now += kStep), Level::kShedNormal);
  EXPECT_FALSE(steps.rising());
}

TEST(Pressure, FallsAtOnceButNotForAFlutterAroundAMark) {
  PressureSteps steps({80, 85, 92});
  int64_t now = 0;
  for (int i = 0; i < 3; ++i) steps.look(95, now += kStep);
  EXPECT_EQ(steps.look(91, now), Level::kShedNormal);
  EXPECT_EQ(steps.look(89, now), Level::kShedLow);
  EXPECT_EQ(steps.look(10, now), Level::kNone);
  EXPECT_FALSE(steps.rising());
}

TEST(Pressure, LimitsThatAreSharedAndReplacedStayWhole) {
  SharedPressureLimits shared;
  EXPECT_EQ(shared.get().ready, PressureLimits().ready);
  EXPECT_EQ(shared.get().shed_normal, PressureLimits().shed_normal);
  shared.set({1, 50, 100});
  EXPECT_EQ(shared.get().ready, 1u);
  EXPECT_EQ(shared.get().shed_low, 50u);
  EXPECT_EQ(shared.get().shed_normal, 100u);
}

}  // namespace
}  // namespace weir::storage
