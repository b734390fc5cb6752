// SPDX-License-Identifier: Apache-2.0
// Tests of the counter-based generator: reproducible, and uniform and normal enough to be trusted.
#include "base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace mixtral {
namespace {

TEST(CounterRngTest, SameSeedAndCounterGiveTheSameNumber) {
  const CounterRng a(7), b(7), other_seed(8), other_stream(7, 1);
  for (const uint64_t counter : {0ULL, 1ULL, 1ULL << 40}) {
    EXPECT_EQ(a.Bits(counter), b.Bits(counter));
    EXPECT_NE(a.Bits(counter), a.Bits(counter + 1));
    EXPECT_NE(a.Bits(counter), other_seed.Bits(counter));
    EXPECT_NE(a.Bits(counter), other_stream.Bits(counter));
  }
}

TEST(CounterRngTest, TheStreamNeverChanges) {  // saved seeds must keep their meaning
  EXPECT_EQ(CounterRng(0).Bits(0), 6235967106033911276ULL);
  EXPECT_EQ(CounterRng(42, 3).Bits(1000), 49086204030813025ULL);
}

TEST(CounterRngTest, UniformFillsTheUnitInterval) {
  const CounterRng rng(1);
  constexpr int kN = 100'000;
  double sum = 0, low = 1, high = 0;
  for (int i = 0; i < kN; ++i) {
    const double u = rng.Uniform(i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_NEAR(sum / kN, 0.5, 0.005);  // 5 standard errors
  EXPECT_LT(low, 0.001);
  EXPECT_GT(high, 0.999);
}

TEST(CounterRngTest, NormalHasMeanZeroAndVarianceOne) {
  const CounterRng rng(2);
  constexpr int kN = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kN; ++i) {
    const double x = rng.Normal(i);
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kN, 0.0, 0.016);
  EXPECT_NEAR(squares / kN, 1.0, 0.023);
}

}  // namespace
}  // namespace mixtral
