// SPDX-License-Identifier: Apache-2.0
// Every other slot of every ISA of this host (matrix slots: conformance_matmul_test.cc): attention
// tiles, rows, conversions; the table itself; and that the rung that MIXTRAL_EXPECT_ISA names ran.
#include <cmath>
#include <cstdlib>

#include "kernels/conformance_support.h"

namespace mixtral::kernels::testing {
namespace {

TEST(Ladder, ExpectedIsaRan) {
  const char* expected = std::getenv("MIXTRAL_EXPECT_ISA");
  if (expected == nullptr) GTEST_SKIP() << "MIXTRAL_EXPECT_ISA is not set";
  const auto isa = IsaFromName(expected);
  ASSERT_TRUE(isa.has_value()) << expected;
  EXPECT_LE(*isa, HostIsas().back()) << "this host does not run it, so nothing above tested it";
}

TEST(Ladder, EverySlotIsFilled) {
  for (const Isa isa : HostIsas()) {
    const KernelTable table = BuildTable(isa);
    for (const auto& types : table.matrix) {
      for (const MatrixSlots& slots : types) {
        EXPECT_NE(slots.quantize_rows.fn, nullptr);
        EXPECT_NE(slots.pack_tile.fn, nullptr);
        EXPECT_NE(slots.gemm_tile.fn, nullptr);
        EXPECT_NE(slots.gemv_rows.fn, nullptr);
        EXPECT_NE(slots.tile_bytes, nullptr);
        EXPECT_EQ(slots.gemm_tile.isa, isa);  // each ISA so far has all matrix slots
      }
    }
    for (const auto& slot : table.to_f32) EXPECT_NE(slot.fn, nullptr);
    for (const auto& slot : table.from_f32) EXPECT_NE(slot.fn, nullptr);
    for (const auto& slot : table.attend_tile) EXPECT_NE(slot.fn, nullptr);
    EXPECT_NE(table.rms_norm.fn, nullptr);
    EXPECT_NE(table.rope.fn, nullptr);
    EXPECT_NE(table.silu_mul.fn, nullptr);
    EXPECT_NE(table.add_scaled.fn, nullptr);
    for (const auto& slot : table.peaks) EXPECT_NE(slot.fn, nullptr);
    EXPECT_NE(table.read_words.fn, nullptr);
  }
}

/// Exit status of a fresh process that asks for the active kernels with MIXTRAL_ISA = value.
void ExitWithChoice(const char* value) {
  setenv("MIXTRAL_ISA", value, 1);
  const char* problem = nullptr;
  const KernelTable* table = ActiveKernels(&problem);
  if (table == nullptr) std::exit(problem != nullptr ? 10 : 11);
  std::exit(static_cast<int>(ActiveIsa()));
}

TEST(LadderDeathTest, EnvironmentCapsTheIsa) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(ExitWithChoice("scalar"), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(ExitWithChoice(""), ::testing::ExitedWithCode(static_cast<int>(HostIsa())), "");
  EXPECT_EXIT(ExitWithChoice("avx9"), ::testing::ExitedWithCode(10), "");
  const int avx2 = HostIsa() >= Isa::kAvx2 ? 1 : 10;
  EXPECT_EXIT(ExitWithChoice("avx2"), ::testing::ExitedWithCode(avx2), "");
}

// ---- Attention

struct AttendParam {
  Isa isa;
  DType type;
};
std::vector<AttendParam> AttendParams() {
  std::vector<AttendParam> params;
  for (const Isa isa : HostIsas()) {
    params.push_back({isa, DType::kF32});
    params.push_back({isa, DType::kF16});
  }
  return params;
}

constexpr int kTiles = 3;

/// Queries over three tiles; query i sees [first, last) of each. Unseen positions are NaN.
struct AttendProblem {
  AttendProblem(DType cache_type, int n_queries, int dim, unsigned seed)
      : type(cache_type), n_q(n_queries), head_dim(dim), random(seed) {
    q = RandomFloats(static_cast<size_t>(n_q * head_dim), random);
    for (float& value : q) value *= 2 / std::sqrt(static_cast<float>(head_dim));
    const size_t element = type == DType::kF32 ? 4 : 2;
    for (int tile = 0; tile < kTiles; ++tile) {
      std::vector<int32_t> from, to;
      int lowest = kKvTile, highest = 0;
      for (int i = 0; i < n_q; ++i) {
        from.push_back(static_cast<int32_t>(random() % kKvTile));
        to.push_back(from.back() + static_cast<int32_t>(random() % static_cast<unsigned>(
                                                                       kKvTile + 1 - from.back())));
        if (tile == 1 && i == 0) from[0] = 0, to[0] = kKvTile;
        if (from.back() == to.back()) continue;
        lowest = std::min(lowest, from.back());
        highest = std::max(highest, to.back());
      }
      first.push_back(from);
      last.push_back(to);
      for (auto* cache : {&k, &v}) {
        cache->emplace_back(static_cast<size_t>(kKvTile * head_dim) * element, element);
        for (int p = lowest; p < highest; ++p)
          FillRow(type, head_dim, Fill::kRandom, random,
                  cache->back().data() + static_cast<size_t>(p * head_dim) * element);
      }
    }
  }
  std::vector<float> CacheRow(std::vector<Bytes>& cache, int tile, int p) {
    const size_t element = type == DType::kF32 ? 4 : 2;
    return Decode(
        type, cache[static_cast<size_t>(tile)].data() + static_cast<size_t>(p * head_dim) * element,
        head_dim);
  }

  DType type;
  int n_q, head_dim;
  std::mt19937 random;
  std::vector<float> q;
  std::vector<std::vector<int32_t>> first, last;  // [kTiles][n_q]
  std::vector<Bytes> k, v;                        // [kTiles]
};

struct AttendState {
  std::vector<float> maximum, denominator, acc;
};

/// The tiles in order for queries [begin, end).
AttendState RunAttend(AttendProblem& p, const KernelTable& table, int begin, int end) {
  const auto n = static_cast<size_t>(end - begin);
  AttendState s{std::vector<float>(n, -HUGE_VALF), std::vector<float>(n),
                std::vector<float>(n * static_cast<size_t>(p.head_dim))};
  for (size_t tile = 0; tile < kTiles; ++tile)
    table.attend_tile[Index(p.type)].fn({p.q.data() + begin * p.head_dim, static_cast<int>(n),
                                         p.head_dim, p.k[tile].data(), p.v[tile].data(),
                                         p.first[tile].data() + begin, p.last[tile].data() + begin,
                                         s.maximum.data(), s.denominator.data(), s.acc.data()});
  return s;
}

void ExpectAttention(AttendProblem& p, const AttendState& s, int i) {
  std::vector<double> scores, out(static_cast<size_t>(p.head_dim));
  std::vector<std::vector<float>> values;
  double maximum = -HUGE_VAL, denominator = 0;
  for (int tile = 0; tile < kTiles; ++tile) {
    const auto at = static_cast<size_t>(tile);
    for (int pos = p.first[at][static_cast<size_t>(i)]; pos < p.last[at][static_cast<size_t>(i)];
         ++pos) {
      const std::vector<float> key = p.CacheRow(p.k, tile, pos);
      double score = 0;
      for (int d = 0; d < p.head_dim; ++d)
        score += static_cast<double>(key[static_cast<size_t>(d)]) *
                 p.q[static_cast<size_t>(i * p.head_dim + d)];
      scores.push_back(score);
      values.push_back(p.CacheRow(p.v, tile, pos));
      maximum = std::max(maximum, score);
    }
  }
  for (size_t j = 0; j < scores.size(); ++j) {
    const double weight = std::exp(scores[j] - maximum);
    denominator += weight;
    for (size_t d = 0; d < out.size(); ++d) out[d] += weight * values[j][d];
  }
  const auto at = static_cast<size_t>(i);
  if (scores.empty()) {
    EXPECT_EQ(s.maximum[at], -HUGE_VALF);
    EXPECT_EQ(s.denominator[at], 0);
    return;
  }
  EXPECT_NEAR(s.maximum[at], maximum, 1e-5);
  EXPECT_NEAR(s.denominator[at], denominator, 1e-5 * denominator);
  for (size_t d = 0; d < out.size(); ++d)
    EXPECT_NEAR(s.acc[at * out.size() + d], out[d], 2e-5 * denominator) << "dim " << d;
}

class Attend : public ::testing::TestWithParam<AttendParam> {};

TEST_P(Attend, MatchesDoubleAndQueriesDoNotMeet) {
  const KernelTable table = BuildTable(GetParam().isa);
  for (const int head_dim : {2, 6, 8, 14, 16, 30, 32, 34, 64, 72, 128, 136}) {
    for (const int n_q : {1, 4, 7}) {
      SCOPED_TRACE("head_dim " + std::to_string(head_dim) + " n_q " + std::to_string(n_q));
      AttendProblem p(GetParam().type, n_q, head_dim, static_cast<unsigned>(head_dim + n_q));
      const AttendState together = RunAttend(p, table, 0, n_q);
      for (int i = 0; i < n_q; ++i) {
        ExpectAttention(p, together, i);
        const AttendState alone = RunAttend(p, table, i, i + 1);
        const auto at = static_cast<size_t>(i), dim = static_cast<size_t>(head_dim);
        ASSERT_EQ(BitsOf(alone.denominator[0]), BitsOf(together.denominator[at]));
        for (size_t d = 0; d < dim; ++d)
          ASSERT_EQ(BitsOf(alone.acc[d]), BitsOf(together.acc[at * dim + d]));
      }
    }
  }
}

/// A query whose first tile scores 0 with value 0, and whose second scores x with value 1, ends
/// with acc = exp(x) alone.
TEST_P(Attend, ExpWithinTwoUlp) {
  const KernelTable table = BuildTable(GetParam().isa);
  const std::vector<float> q = {1, 0};
  const int32_t first = 0, last = 1;
  for (int step = 0; step < 20000; ++step) {
    const float exact_x = -static_cast<float>(step) * 0.00436f;
    const uint16_t half = F32ToF16(exact_x), half_one = F32ToF16(1);
    const float x = GetParam().type == DType::kF32 ? exact_x : F16ToF32(half), one = 1;
    std::vector<std::byte> zeros(kKvTile * 8), k = zeros, v = zeros;
    if (GetParam().type == DType::kF32) {
      std::memcpy(k.data(), &x, 4);
      std::memcpy(v.data(), &one, 4);
    } else {
      std::memcpy(k.data(), &half, 2);
      std::memcpy(v.data(), &half_one, 2);
    }
    float maximum = -HUGE_VALF, denominator = 0, acc[2] = {};
    const auto fn = table.attend_tile[Index(GetParam().type)].fn;
    fn({q.data(), 1, 2, zeros.data(), zeros.data(), &first, &last, &maximum, &denominator, acc});
    fn({q.data(), 1, 2, k.data(), v.data(), &first, &last, &maximum, &denominator, acc});
    const double expected = std::exp(static_cast<double>(x));
    const double ulp = std::ldexp(1.0, std::ilogb(static_cast<float>(expected)) - 23);
    ASSERT_NEAR(acc[0], expected, 2 * ulp) << "x " << x;
  }
}

TEST_P(Attend, NothingSeenAndScoresOfMinusInfinityLeaveTheState) {
  const KernelTable table = BuildTable(GetParam().isa);
  const int32_t first = 3, last = 5;
  std::vector<std::byte> k(kKvTile * 8), v(kKvTile * 8);
  const float minus_one = -1;
  const uint16_t minus_one_half = F32ToF16(-1);
  for (size_t p = 0; p < kKvTile; ++p) {
    if (GetParam().type == DType::kF32) std::memcpy(k.data() + p * 8, &minus_one, 4);
    if (GetParam().type == DType::kF16) std::memcpy(k.data() + p * 4, &minus_one_half, 2);
  }
  const float q[2] = {1, 0}, infinite_q[2] = {HUGE_VALF, 0};
  float maximum = -HUGE_VALF, denominator = 0, acc[2] = {};
  const auto fn = table.attend_tile[Index(GetParam().type)].fn;
  fn({q, 1, 2, k.data(), v.data(), &first, &first, &maximum, &denominator, acc});
  EXPECT_EQ(maximum, -HUGE_VALF);
  fn({infinite_q, 1, 2, k.data(), v.data(), &first, &last, &maximum, &denominator, acc});
  EXPECT_EQ(maximum, -HUGE_VALF);
  EXPECT_EQ(denominator, 0);
  EXPECT_EQ(acc[0], 0);
  fn({q, 1, 2, k.data(), v.data(), &first, &last, &maximum, &denominator, acc});
  EXPECT_EQ(maximum, -1);
  EXPECT_EQ(denominator, 2);
}

INSTANTIATE_TEST_SUITE_P(All, Attend, ::testing::ValuesIn(AttendParams()), [](const auto& param) {
  return std::string(Name(param.param.type)) + "_" + std::string(IsaName(param.param.isa));
});

// ---- Rows

class Rows : public ::testing::TestWithParam<Isa> {
 protected:
  const KernelTable table_ = BuildTable(GetParam());
  std::mt19937 random_{5};
};

TEST_P(Rows, RmsNorm) {
  for (int n = 1; n <= 50; ++n) {
    const auto x = RandomFloats(static_cast<size_t>(n), random_);
    const auto weight = RandomFloats(static_cast<size_t>(n), random_);
    Bytes out(static_cast<size_t>(n) * 4, 4);
    table_.rms_norm.fn(x.data(), weight.data(), 1e-5f, n, out.as<float>());
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double inverse = 1 / std::sqrt(squares / n + 1e-5);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(out.as<float>()[i], x[i] * inverse * weight[i],
                  1e-6 * std::fabs(x[i] * inverse * weight[i]));
    EXPECT_TRUE(out.EndUntouched());
    std::vector<float> in_place = x;
    table_.rms_norm.fn(in_place.data(), weight.data(), 1e-5f, n, in_place.data());
    EXPECT_EQ(std::memcmp(in_place.data(), out.data(), in_place.size() * 4), 0);
  }
}

TEST_P(Rows, SiluMul) {
  for (int n = 1; n <= 50; ++n) {
    auto gate = RandomFloats(static_cast<size_t>(n), random_);
    const auto up = RandomFloats(static_cast<size_t>(n), random_);
    for (float& value : gate) value *= 30;
    gate[0] = n % 2 == 0 ? 200.0f : -200.0f;
    Bytes out(static_cast<size_t>(n) * 4, 4);
    table_.silu_mul.fn(gate.data(), up.data(), n, out.as<float>());
    for (size_t i = 0; i < gate.size(); ++i) {
      const double expected = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
      EXPECT_NEAR(out.as<float>()[i], expected, 6e-7 * std::fabs(expected) + 1e-36);
    }
    EXPECT_TRUE(out.EndUntouched());
    table_.silu_mul.fn(gate.data(), up.data(), n, gate.data());
    EXPECT_EQ(std::memcmp(gate.data(), out.data(), gate.size() * 4), 0);
  }
}

TEST_P(Rows, SiluMulOfNanIsNan) {
  const float gate = std::nanf(""), up = 1;
  float out = 0;
  table_.silu_mul.fn(&gate, &up, 1, &out);
  EXPECT_TRUE(std::isnan(out));
}

TEST_P(Rows, AddScaledIsFused) {
  for (int n = 1; n <= 40; ++n) {
    const auto x = RandomFloats(static_cast<size_t>(n), random_);
    const auto y = RandomFloats(static_cast<size_t>(n), random_);
    Bytes out(static_cast<size_t>(n) * 4, 4);
    std::memcpy(out.data(), y.data(), y.size() * 4);
    table_.add_scaled.fn(x.data(), 0.37f, n, out.as<float>());
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_EQ(out.as<float>()[i], std::fma(0.37f, x[i], y[i]));
    EXPECT_TRUE(out.EndUntouched());
  }
}

TEST_P(Rows, RopeTurnsPairsAndInterleaves) {
  for (const int head_dim : {2, 6, 8, 128}) {
    const int n_heads = 3, half = head_dim / 2;
    const auto x = RandomFloats(static_cast<size_t>(n_heads * head_dim), random_);
    std::vector<float> cosines, sines;
    for (int j = 0; j < half; ++j) {
      cosines.push_back(std::cos(static_cast<float>(j) + 0.3f));
      sines.push_back(std::sin(static_cast<float>(j) + 0.3f));
    }
    for (const RopeLayout layout : {RopeLayout::kInterleaved, RopeLayout::kHalf}) {
      Bytes out(x.size() * 4, 4);
      table_.rope.fn({x.data(), cosines.data(), sines.data(), layout, n_heads, head_dim, 0.25f,
                      out.as<float>()});
      for (int i = 0; i < n_heads * half; ++i) {
        const int j = i % half, base = i / half * head_dim;
        const bool interleaved = layout == RopeLayout::kInterleaved;
        const double a = x[static_cast<size_t>(base + (interleaved ? 2 * j : j))];
        const double b = x[static_cast<size_t>(base + (interleaved ? 2 * j + 1 : j + half))];
        const double c = cosines[static_cast<size_t>(j)], s = sines[static_cast<size_t>(j)];
        EXPECT_NEAR(out.as<float>()[base + 2 * j], (a * c - b * s) * 0.25, 1e-6);
        EXPECT_NEAR(out.as<float>()[base + 2 * j + 1], (a * s + b * c) * 0.25, 1e-6);
      }
      EXPECT_TRUE(out.EndUntouched());
    }
  }
}

TEST_P(Rows, ToF32DecodesExactly) {
  for (int t = 0; t < kNumMatrixDTypes; ++t) {
    const auto dtype = static_cast<DType>(t);
    const int block = Info(dtype).block_elements;
    for (const int n : {block, 2 * block, block == 1 ? 29 : 3 * block}) {
      Bytes row(RowBytes(dtype, n), 1), out(static_cast<size_t>(n) * 4, 4);
      FillRow(dtype, n, Fill::kRandom, random_, row.data());
      table_.to_f32[Index(dtype)].fn(row.data(), n, out.as<float>());
      const std::vector<float> expected = Decode(dtype, row.data(), n);
      EXPECT_EQ(std::memcmp(out.data(), expected.data(), expected.size() * 4), 0) << Name(dtype);
      EXPECT_TRUE(out.EndUntouched());
    }
  }
}

TEST_P(Rows, EveryF16BothWays) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    float value = 0;
    table_.to_f32[Index(DType::kF16)].fn(&half, 1, &value);
    const float expected = F16ToF32(half);
    ASSERT_EQ(std::isnan(value), std::isnan(expected)) << bits;
    if (std::isnan(expected)) continue;
    ASSERT_EQ(BitsOf(value), BitsOf(expected)) << bits;
    uint16_t back = 0;
    table_.from_f32[Index(DType::kF16)].fn(&value, 1, &back);
    ASSERT_EQ(back, half);
  }
}

TEST_P(Rows, FromF32RoundsToNearestEven) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (int n = 1; n <= 40; ++n) {
      std::vector<float> x(static_cast<size_t>(n));
      for (float& value : x) {  // any bits but NaN; half of them of f16's magnitude
        do value = std::bit_cast<float>(static_cast<uint32_t>(random_()));
        while (std::isnan(value));
        if (random_() % 2 == 0)
          value = std::ldexp(value, -std::ilogb(value) + 15 - static_cast<int>(random_() % 42));
      }
      Bytes row(RowBytes(dtype, n), 1);
      table_.from_f32[Index(dtype)].fn(x.data(), n, row.data());
      for (size_t i = 0; i < x.size(); ++i) {
        if (dtype == DType::kF32) {
          EXPECT_EQ(LoadUnaligned<float>(row.data() + i * 4), x[i]);
          continue;
        }
        const uint16_t expected = dtype == DType::kF16 ? F32ToF16(x[i]) : F32ToBf16(x[i]);
        EXPECT_EQ(LoadUnaligned<uint16_t>(row.data() + i * 2), expected) << x[i];
      }
      EXPECT_TRUE(row.EndUntouched());
    }
  }
}

TEST_P(Rows, ReadWordsReadsEveryWholeWord) {
  std::vector<uint64_t> words(100);
  for (uint64_t& word : words) word = random_() | uint64_t{random_()} << 32;
  const auto* bytes = reinterpret_cast<const unsigned char*>(words.data());
  for (size_t n = 0; n <= words.size(); ++n) {
    uint64_t expected = 0;
    for (size_t i = 0; i < n; ++i) expected ^= words[i];
    EXPECT_EQ(table_.read_words.fn(bytes, n * 8), expected) << n;
    if (n == words.size()) break;
    EXPECT_EQ(table_.read_words.fn(bytes, n * 8 + 7), expected) << n;  // not a whole word more
  }
}

TEST_P(Rows, PeaksCountTheOperationsOfTheirPasses) {
  for (const auto& peak : table_.peaks) {
    const int64_t per_pass = peak.fn(1);
    EXPECT_GT(per_pass, 0);
    EXPECT_EQ(peak.fn(1000), 1000 * per_pass);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Rows, ::testing::ValuesIn(HostIsas()),
                         [](const auto& param) { return std::string(IsaName(param.param)); });

}  // namespace
}  // namespace mixtral::kernels::testing
