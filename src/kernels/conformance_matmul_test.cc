// SPDX-License-Identifier: Apache-2.0
// Every matrix slot of every ISA of this host, against the arithmetic contract: gemv == gemm
// bitwise, quantised types == scalar bitwise, all near a double reference, nothing read beyond the
// valid rows and columns (they are NaN) and nothing written beyond [n_tokens, n_rows].
#include <cmath>

#include "kernels/conformance_support.h"

namespace mixtral::kernels::testing {
namespace {

struct Param {
  Compute compute;
  DType dtype;
  Isa isa;
};

std::vector<Param> AllParams() {
  std::vector<Param> params;
  for (const Isa isa : HostIsas()) {
    for (int i = 0; i < kNumMatrixDTypes; ++i) {
      for (const Compute compute : {Compute::kFast, Compute::kExact})
        params.push_back({compute, static_cast<DType>(i), isa});
    }
  }
  return params;
}
std::string NameOf(const ::testing::TestParamInfo<Param>& info) {
  return std::string(Name(info.param.dtype)) + "_" + std::string(IsaName(info.param.isa)) +
         (info.param.compute == Compute::kExact ? "_exact" : "_fast");
}

/// A weight matrix with odd row distance at an odd address, and activations with gaps.
struct Problem {
  Problem(const Param& param, int rows_in, int acts_in, int cols_in, Fill fill, unsigned seed)
      : dtype(param.dtype),
        n_rows(rows_in),
        n_acts(acts_in),
        cols(cols_in),
        table(BuildTable(param.isa)),
        slots(table.Matrix(param.compute, param.dtype)),
        row_bytes(RowBytes(dtype, cols) + 3),
        layout(LayoutOf(slots.act_form, cols)),
        act_stride(layout.row_bytes + 64),
        weights(row_bytes * static_cast<size_t>(n_rows), 1),
        acts(act_stride * static_cast<size_t>(n_acts)) {
    std::mt19937 random(seed);
    for (int r = 0; r < n_rows; ++r) FillRow(dtype, cols, fill, random, Row(r));
    for (int t = 0; t < n_acts; ++t) {
      x.push_back(RandomFloats(static_cast<size_t>(cols), random));
      if (fill != Fill::kRandom) {  // every quant +127, or -127
        for (float& value : x.back()) value = t % 2 == 0 ? 1.5f : -1.5f;
      }
      slots.quantize_rows.fn({x.back().data(), cols, Act(t), 1, cols});
    }
  }
  std::byte* Row(int r) { return weights.data() + static_cast<size_t>(r) * row_bytes; }
  std::byte* Act(int t) { return acts.data() + static_cast<size_t>(t) * act_stride; }

  /// What the slot's activation row stands for.
  std::vector<float> DecodedAct(int t) {
    if (slots.act_form == ActForm::kF32) return x[static_cast<size_t>(t)];
    const int block = slots.act_form == ActForm::kBlocks32 ? 32 : 256;
    const auto* q = reinterpret_cast<const int8_t*>(Act(t) + layout.q);
    const auto* d = reinterpret_cast<const float*>(Act(t) + layout.d);
    std::vector<float> out(static_cast<size_t>(cols));
    for (int i = 0; i < cols; ++i)
      out[static_cast<size_t>(i)] = d[i / block] * static_cast<float>(q[i]);
    return out;
  }

  DType dtype;
  int n_rows, n_acts, cols;
  KernelTable table;
  const MatrixSlots& slots;
  size_t row_bytes;
  ActLayout layout;
  size_t act_stride;
  Bytes weights, acts;
  std::vector<std::vector<float>> x;
};

/// out [n_tokens, n_rows] through pack_tile and gemm_tile, with stride n_rows + 3 in a guarded
/// buffer.
std::vector<float> RunGemm(Problem& p, const std::vector<int32_t>& act_rows) {
  const int n_tokens = static_cast<int>(act_rows.size());
  const size_t stride = static_cast<size_t>(p.n_rows) + 3;
  const size_t tile_bytes = p.slots.tile_bytes(p.cols);
  Bytes tile(tile_bytes), out(stride * act_rows.size() * 4, 4);
  p.slots.pack_tile.fn({p.Row(0), p.row_bytes, p.n_rows, p.cols, tile.data()});
  EXPECT_TRUE(tile.EndUntouched());
  bool identity = true;
  for (size_t t = 0; t < act_rows.size(); ++t) identity &= act_rows[t] == static_cast<int32_t>(t);
  p.slots.gemm_tile.fn({tile.data(), p.n_rows, p.cols, p.acts.data(), p.act_stride,
                        identity ? nullptr : act_rows.data(), n_tokens, out.as<float>(),
                        static_cast<int64_t>(stride)});
  std::vector<float> result;
  for (size_t t = 0; t < act_rows.size(); ++t) {
    for (size_t r = 0; r < stride; ++r) {
      const float value = out.as<float>()[t * stride + r];
      if (r < static_cast<size_t>(p.n_rows)) {
        result.push_back(value);
      } else {
        EXPECT_EQ(BitsOf(value), 0xFFFFFFFFu) << "written beyond n_rows, token " << t;
      }
    }
  }
  EXPECT_TRUE(out.EndUntouched());
  return result;
}

std::vector<float> RunGemv(Problem& p, const MatrixSlots& slots, int act) {
  Bytes out(static_cast<size_t>(p.n_rows) * 4, 4);
  slots.gemv_rows.fn({p.Row(0), p.row_bytes, p.n_rows, p.cols, p.Act(act), out.as<float>()});
  EXPECT_TRUE(out.EndUntouched());
  return {out.as<float>(), out.as<float>() + p.n_rows};
}

/// out [n_tokens, n_rows] of one call for all tokens.
std::vector<float> RunGemvTogether(Problem& p, const std::vector<int32_t>& act_rows) {
  const size_t stride = static_cast<size_t>(p.n_rows) + 3, n_rows = stride - 3;
  Bytes out(stride * act_rows.size() * 4, 4);
  p.slots.gemv_rows.fn({.weights = p.Row(0),
                        .row_bytes = p.row_bytes,
                        .n_rows = p.n_rows,
                        .cols = p.cols,
                        .act = p.acts.data(),
                        .out = out.as<float>(),
                        .n_tokens = static_cast<int>(act_rows.size()),
                        .act_stride = p.act_stride,
                        .act_rows = act_rows.data(),
                        .out_stride = static_cast<int64_t>(stride)});
  std::vector<float> result;
  for (size_t at = 0; at < stride * act_rows.size(); ++at) {
    const float value = out.as<float>()[at];
    if (at % stride < n_rows) {
      result.push_back(value);
    } else {
      EXPECT_EQ(BitsOf(value), 0xFFFFFFFFu) << "written beyond n_rows, token " << at / stride;
    }
  }
  EXPECT_TRUE(out.EndUntouched());
  return result;
}

/// Row r times act t in double, and the bound of float arithmetic: every addition may lose 2^-24 of
/// a partial sum, and partial sums (of scales times quants and of minimums) stay below range.
void ExpectNear(Problem& p, int r, int t, float got) {
  const std::vector<float> w = Decode(p.dtype, p.Row(r), p.cols), x = p.DecodedAct(t);
  double sum = 0, largest = 0, x_sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    sum += static_cast<double>(w[i]) * x[i];
    x_sum += std::fabs(x[i]);
    largest = std::max<double>(largest, std::fabs(w[i]));
  }
  if (kBlockFormats[Index(p.dtype)].m_at >= 0)
    largest += 2 * 63 * 0x1p-5;  // d * sc * q and dmin * m cancel
  EXPECT_NEAR(got, sum, 2e-6 * largest * x_sum) << "row " << r << " act " << t;
}

bool Quantised(DType dtype) { return Info(dtype).block_elements > 1; }

std::vector<int> ColumnsOf(DType dtype) {
  if (!Quantised(dtype)) return {1, 2, 7, 8, 9, 15, 16, 17, 24, 33, 100, 256, 520};
  const int block = Info(dtype).block_elements;
  return {block, 2 * block, 3 * block, 9 * block};
}

void Check(const Param& param, int n_rows, int n_tokens, int cols, Fill fill) {
  SCOPED_TRACE("n_rows " + std::to_string(n_rows) + " n_tokens " + std::to_string(n_tokens) +
               " cols " + std::to_string(cols));
  Problem p(param, n_rows, n_tokens + 2, cols, fill, static_cast<unsigned>(n_rows * 31 + cols));
  std::vector<int32_t> act_rows;  // identity for even n_tokens: acts as nullptr
  for (int t = 0; t < n_tokens; ++t)
    act_rows.push_back(n_tokens % 2 == 0 ? t : (t * 5 + 2) % (n_tokens + 2));
  const std::vector<float> gemm = RunGemm(p, act_rows), together = RunGemvTogether(p, act_rows);
  const KernelTable scalar = BuildTable(Isa::kScalar);
  for (int t = 0; t < n_tokens; ++t) {
    const int act = act_rows[static_cast<size_t>(t)];
    const std::vector<float> gemv = RunGemv(p, p.slots, act);
    const std::vector<float> expected = RunGemv(p, scalar.Matrix(param.compute, param.dtype), act);
    for (int r = 0; r < n_rows; ++r) {
      const float got = gemm[static_cast<size_t>(t * n_rows + r)];
      ASSERT_EQ(BitsOf(got), BitsOf(gemv[static_cast<size_t>(r)])) << "gemm, gemv: row " << r;
      ASSERT_EQ(BitsOf(got), BitsOf(together[static_cast<size_t>(t * n_rows + r)]))
          << "gemm, gemv of several tokens: row " << r << " token " << t;
      if (Quantised(param.dtype) && param.compute == Compute::kFast) {
        ASSERT_EQ(BitsOf(got), BitsOf(expected[static_cast<size_t>(r)])) << "scalar: row " << r;
      }
      ExpectNear(p, r, act, got);
    }
  }
}

class Matmul : public ::testing::TestWithParam<Param> {};

TEST_P(Matmul, EveryTail) {
  for (const int cols : ColumnsOf(GetParam().dtype)) Check(GetParam(), 16, 3, cols, Fill::kRandom);
}
TEST_P(Matmul, EveryNumberOfRows) {
  const int cols = Quantised(GetParam().dtype) ? 512 : 37;
  for (int n_rows = 1; n_rows <= 16; ++n_rows) Check(GetParam(), n_rows, 2, cols, Fill::kRandom);
}
TEST_P(Matmul, EveryNumberOfTokens) {
  const int cols = Quantised(GetParam().dtype) ? 256 : 50;
  for (int n_tokens = 1; n_tokens <= 14; ++n_tokens)
    Check(GetParam(), 13, n_tokens, cols, Fill::kRandom);
}
TEST_P(Matmul, LargestQuantsDoNotOverflow) {
  if (!Quantised(GetParam().dtype)) return;
  for (const Fill fill : {Fill::kOnes, Fill::kHighBits, Fill::kZeros})
    Check(GetParam(), 16, 8, 1024, fill);
}
TEST_P(Matmul, NeighboursDoNotMatter) {
  Problem p(GetParam(), 16, 9, 512, Fill::kRandom, 3);
  const std::vector<float> together = RunGemm(p, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  for (int t = 0; t < 9; ++t) {
    const std::vector<float> alone = RunGemm(p, {t});
    for (size_t r = 0; r < 16; ++r)
      ASSERT_EQ(BitsOf(alone[r]), BitsOf(together[static_cast<size_t>(t) * 16 + r]));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Matmul, ::testing::ValuesIn(AllParams()), NameOf);

// ---- Activations

class Quantise : public ::testing::TestWithParam<Isa> {};

/// Rows with every special case: ordinary, zero, tiny, huge, ties, infinity, NaN.
std::vector<float> SpecialRow(int kind, int cols, std::mt19937& random) {
  std::vector<float> x = RandomFloats(static_cast<size_t>(cols), random);
  for (size_t i = 0; i < x.size(); ++i) {
    if (kind == 1) x[i] = 0;
    if (kind == 2) x[i] *= 1e-38f;
    if (kind == 3) x[i] *= 1e37f;
    if (kind == 4) x[i] = i == 0 ? 127.0f : static_cast<float>(i % 254) - 126.5f;  // ties
  }
  if (kind == 5) x[static_cast<size_t>(cols) / 2] = HUGE_VALF;
  if (kind == 6) x[3] = std::nanf("");
  if (kind == 7) x[5] = 0x1p-100f;
  return x;
}

void CheckQuantised(const Problem& p, const std::vector<float>& x, const std::byte* row) {
  const int block = p.slots.act_form == ActForm::kBlocks32 ? 32 : 256;
  const int sum_block = p.slots.act_form == ActForm::kBlocks32 ? 32 : 16;
  const auto* q = reinterpret_cast<const int8_t*>(row + p.layout.q);
  const auto* d = reinterpret_cast<const float*>(row + p.layout.d);
  const auto* sum = reinterpret_cast<const int16_t*>(row + p.layout.sum);
  for (int b = 0; b < p.cols / block; ++b) {
    float amax = 0;
    bool finite = true;
    for (int i = b * block; i < (b + 1) * block; ++i) {
      amax = std::max(amax, std::fabs(x[static_cast<size_t>(i)]));
      finite &= std::isfinite(x[static_cast<size_t>(i)]);
    }
    ASSERT_EQ(std::isnan(d[b]), !finite);
    for (int i = b * block; i < (b + 1) * block && finite; ++i) {
      ASSERT_GE(q[i], -127);
      const double bound = amax < 0x1p-100f ? amax : 0.5001 * amax / 127;
      ASSERT_NEAR(static_cast<double>(d[b]) * q[i], x[static_cast<size_t>(i)], bound);
    }
  }
  for (int i = 0; i < p.cols; i += sum_block) {
    int total = 0;
    for (int j = 0; j < sum_block; ++j) total += q[i + j];
    ASSERT_EQ(sum[i / sum_block], total);
  }
}

TEST_P(Quantise, BitwiseAsScalarAndWithinHalfAStep) {
  const KernelTable scalar = BuildTable(Isa::kScalar);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    Problem p({Compute::kFast, dtype, GetParam()}, 1, 1, 768, Fill::kRandom, 1);
    std::mt19937 random(2);
    for (int kind = 0; kind < 8; ++kind) {
      SCOPED_TRACE(std::string(Name(dtype)) + " kind " + std::to_string(kind));
      std::vector<float> x;  // two rows, 5 floats between them
      for (int r = 0; r < 2; ++r) {
        const std::vector<float> row = SpecialRow(kind, p.cols, random);
        x.insert(x.end(), row.begin(), row.end());
        x.insert(x.end(), 5, std::nanf(""));
      }
      Bytes got(2 * p.layout.row_bytes), expected(2 * p.layout.row_bytes);
      p.slots.quantize_rows.fn({x.data(), p.cols + 5, got.data(), 2, p.cols});
      scalar.Matrix(Compute::kFast, dtype)
          .quantize_rows.fn({x.data(), p.cols + 5, expected.data(), 2, p.cols});
      for (size_t i = 0; i < 2 * p.layout.row_bytes; ++i) {
        // A NaN scale may differ in its payload only; the padding is 0xFF in both.
        const auto* a = reinterpret_cast<const float*>(got.data() + i / 4 * 4);
        const auto* b = reinterpret_cast<const float*>(expected.data() + i / 4 * 4);
        if (std::isnan(*a) && std::isnan(*b)) continue;
        ASSERT_EQ(got.data()[i], expected.data()[i]) << "byte " << i;
      }
      EXPECT_TRUE(got.EndUntouched());
      for (size_t r = 0; r < 2; ++r) {
        const auto* first = x.data() + r * static_cast<size_t>(p.cols + 5);
        CheckQuantised(p, {first, first + p.cols}, got.data() + r * p.layout.row_bytes);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Quantise, ::testing::ValuesIn(HostIsas()),
                         [](const auto& param) { return std::string(IsaName(param.param)); });

}  // namespace
}  // namespace mixtral::kernels::testing
