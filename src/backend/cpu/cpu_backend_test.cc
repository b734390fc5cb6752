// SPDX-License-Identifier: Apache-2.0
// Uploads, row operations and MatMul of the CPU backend against plain loops.
#include <gtest/gtest.h>

#include <array>

#include "backend/backend.h"
#include "backend/cpu/test_support.h"
#include "base/error.h"

namespace mixtral {
namespace {

using cpu_test::ExpectSameBits;
using cpu_test::FillRandom;
using cpu_test::RandomWeight;
using cpu_test::TestWeight;
using cpu_test::Values;

const std::vector<DType> kTypes = [] {
  std::vector<DType> types;
  for (int i = 0; i < kNumMatrixDTypes; ++i) types.push_back(static_cast<DType>(i));
  return types;
}();

ErrorCode UploadError(const TensorView& view) {
  const auto backend = MakeCpuBackend(1, ComputeMode::kFast);
  try {
    backend->Upload(view);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;  // nothing was thrown
}

TEST(CpuBackend, UploadKeepsTheBytesWhereTheyAre) {
  const auto backend = MakeCpuBackend(1, ComputeMode::kFast);
  const auto weight = RandomWeight(DType::kQ4_K, 3, 512, 1);
  const WeightRef ref = backend->Upload(weight->view);
  EXPECT_EQ(ref.data, weight->view.bytes.data());
  EXPECT_EQ(ref.rows, 3);
  EXPECT_EQ(ref.cols, 512);
  EXPECT_EQ(ref.row_bytes, 288u);
  TensorView vector = weight->view;
  vector.rank = 1;
  vector.shape = {512, 0, 0, 0};
  const WeightRef row = backend->Upload(vector);
  EXPECT_EQ(row.rows, 1);
  EXPECT_EQ(row.cols, 512);
}

TEST(CpuBackend, UploadRefusesWhatCannotBeAMatrix) {
  const auto weight = RandomWeight(DType::kQ8_0, 2, 64, 1);
  TensorView view = weight->view;
  view.shape[1] = 48;
  EXPECT_EQ(UploadError(view), ErrorCode::kCorrupt);
  view = weight->view;
  view.shape[0] = 3;
  EXPECT_EQ(UploadError(view), ErrorCode::kCorrupt);
  view.shape[0] = 0;
  EXPECT_EQ(UploadError(view), ErrorCode::kCorrupt);
  view.shape[0] = int64_t{1} << 62;
  EXPECT_EQ(UploadError(view), ErrorCode::kCorrupt);
  view = weight->view;
  view.rank = 3;
  EXPECT_EQ(UploadError(view), ErrorCode::kUnsupported);
  view = weight->view;
  view.dtype = DType::kI32;
  EXPECT_EQ(UploadError(view), ErrorCode::kUnsupported);
}

TEST(CpuBackend, NoThreadsIsAnError) {
  try {
    MakeCpuBackend(0, ComputeMode::kFast);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(), "threads: expected at least 1, found 0");
  }
}

TEST(CpuBackend, ScratchThatOverflowsIsOutOfMemory) {
  const auto backend = MakeCpuBackend(1, ComputeMode::kFast);
  BackendSetup setup = cpu_test::SmallSetup(4, 32);
  setup.max_slots = 2000000000;
  setup.ffn_dim = 2000000000;
  try {
    backend->Prepare(setup);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
  }
}

TEST(CpuBackend, UploadAsF32HasTheExactValues) {
  const auto backend = MakeCpuBackend(1, ComputeMode::kFast);
  for (const DType dtype : kTypes) {
    const auto weight = RandomWeight(dtype, 3, 256, 5);
    const WeightRef ref = backend->UploadAsF32(weight->view);
    ASSERT_EQ(ref.dtype, DType::kF32);
    ASSERT_EQ(ref.row_bytes, 1024u);
    const auto* data = static_cast<const float*>(ref.data);
    ExpectSameBits({data, data + 3 * 256}, weight->values, "UploadAsF32");
  }
}

TEST(CpuBackend, EmbedPicksRows) {
  const auto backend = MakeCpuBackend(3, ComputeMode::kFast);
  for (const DType dtype : kTypes) {
    const auto table = RandomWeight(dtype, 20, 256, 9);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 150; ++i) tokens.push_back(i * 7 % 20);
    const Activation out = backend->AllocActivation(150, 256);
    backend->Embed(backend->Upload(table->view), tokens, out);
    std::vector<float> expected;
    for (const int32_t token : tokens)
      expected.insert(expected.end(), table->values.begin() + token * 256,
                      table->values.begin() + (token + 1) * 256);
    ExpectSameBits(Values(out), expected, "Embed");
  }
}

TEST(CpuBackend, RmsNormOfRows) {
  const auto backend = MakeCpuBackend(3, ComputeMode::kFast);
  const auto weight = RandomWeight(DType::kF32, 1, 100, 2);
  const Activation x = backend->AllocActivation(400, 100), out = backend->AllocActivation(400, 100);
  FillRandom(x, 3);
  backend->RmsNorm(x, backend->UploadAsF32(weight->view), 1e-5f, out);
  for (int64_t t = 0; t < 400; ++t) {
    double squares = 0;
    for (int64_t i = 0; i < 100; ++i) squares += double{x.At(t, i)} * x.At(t, i);
    const double scale = 1 / std::sqrt(squares / 100 + 1e-5);
    for (int64_t i = 0; i < 100; ++i)
      ASSERT_NEAR(out.At(t, i), x.At(t, i) * scale * weight->values[static_cast<size_t>(i)], 1e-5);
  }
}

TEST(CpuBackend, AddGatherCopy) {
  const auto backend = MakeCpuBackend(2, ComputeMode::kFast);
  const Activation x = backend->AllocActivation(300, 90), y = backend->AllocActivation(300, 90);
  FillRandom(x, 3);
  FillRandom(y, 4);
  std::vector<float> sum = Values(x);
  const std::vector<float> before = Values(y);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += before[i];
  backend->Add(x, y);
  ExpectSameBits(Values(y), sum, "Add");

  const std::vector<int32_t> rows = {299, 0, 7, 7};
  const Activation picked = backend->AllocActivation(4, 90);
  backend->GatherRows(x, rows, picked);
  std::vector<float> copied(4 * 90);
  backend->CopyToHost(picked, copied.data());
  for (size_t i = 0; i < 4; ++i)
    for (size_t c = 0; c < 90; ++c)
      ASSERT_EQ(copied[i * 90 + c], x.At(rows[i], static_cast<int64_t>(c)));
}

TEST(CpuBackend, CacheMemoryIsZeroAndSeparate) {
  const auto backend = MakeCpuBackend(1, ComputeMode::kFast);
  std::byte* a = backend->AllocCache(1000);
  std::byte* b = backend->AllocCache(1000);
  ASSERT_NE(a, b);
  std::memset(a, 1, 1000);
  EXPECT_EQ(b[999], std::byte{0});
  backend->FreeCache(a);
  std::memset(b, 2, 1000);
  backend->FreeCache(b);
}

class MatMulTest : public testing::TestWithParam<std::tuple<DType, ComputeMode>> {};

/// Three matrices of 5, 16 and 83 rows: q has the parameter's type, the other two have others, so
/// that one call needs several activation forms.
struct ThreeMatrices {
  explicit ThreeMatrices(DType dtype) {
    weights.push_back(RandomWeight(dtype, 83, 512, 1));
    weights.push_back(RandomWeight(DType::kF16, 16, 512, 2));
    weights.push_back(RandomWeight(DType::kQ8_0, 5, 512, 3));
  }
  /// Rows of x in one batch; the outputs one after another.
  std::vector<float> Run(int n_threads, ComputeMode mode, Matrix<const float> x,
                         int max_batch_tokens = 64) const {
    const auto backend = MakeCpuBackend(n_threads, mode);
    backend->Prepare(cpu_test::SmallSetup(max_batch_tokens, 512));
    const Activation in = backend->AllocActivation(x.rows, 512);
    for (int64_t t = 0; t < x.rows; ++t) std::copy_n(x.Row(t), 512, in.Row(t));
    std::vector<WeightRef> refs;
    std::vector<Activation> outs;
    for (const auto& weight : weights) {
      refs.push_back(backend->Upload(weight->view));
      outs.push_back(backend->AllocActivation(x.rows, weight->rows()));
    }
    backend->MatMul(refs, in, outs);
    std::vector<float> all;
    for (int64_t t = 0; t < x.rows; ++t)
      for (const Activation& out : outs) all.insert(all.end(), out.Row(t), out.Row(t) + out.cols);
    return all;
  }
  std::vector<std::unique_ptr<TestWeight>> weights;
};

struct RandomRows {
  RandomRows(int64_t rows, int64_t cols, uint64_t seed)
      : storage(static_cast<size_t>(rows * cols)), matrix{storage.data(), rows, cols, cols} {
    FillRandom(matrix, seed);
  }
  std::vector<float> storage;
  Activation matrix;
};

TEST_P(MatMulTest, EqualsTheDoubleLoop) {
  const auto [dtype, mode] = GetParam();
  const ThreeMatrices matrices(dtype);
  const RandomRows x(21, 512, 11);
  const std::vector<float> out = matrices.Run(2, mode, x.matrix);
  size_t i = 0;
  for (int64_t t = 0; t < 21; ++t)
    for (const auto& weight : matrices.weights)
      for (int64_t r = 0; r < weight->rows(); ++r, ++i) {
        const bool quantised =
            mode == ComputeMode::kFast && cpu_test::IsQuantised(weight->view.dtype);
        const auto expected =
            cpu_test::Dot(x.matrix.Row(t), weight->values.data() + r * 512, 512, quantised);
        ASSERT_NEAR(out[i], expected.value, expected.bound) << Name(dtype) << " " << t << " " << r;
      }
}

TEST_P(MatMulTest, ThreadsAndBatchesChangeNoBit) {
  const auto [dtype, mode] = GetParam();
  const ThreeMatrices matrices(dtype);
  const RandomRows x(37, 512, 12);
  const std::vector<float> all = matrices.Run(1, mode, x.matrix);
  ExpectSameBits(all, matrices.Run(3, mode, x.matrix), "3 threads");
  ExpectSameBits(all, matrices.Run(2, mode, x.matrix, 5), "more rows than the scratch holds");
  for (const int64_t batch : {1, 2, 7}) {
    std::vector<float> pieces;
    for (int64_t t = 0; t < 37; t += batch) {
      const Matrix<const float> part = {x.matrix.Row(t), std::min<int64_t>(batch, 37 - t), 512,
                                        512};
      const std::vector<float> out = matrices.Run(2, mode, part);
      pieces.insert(pieces.end(), out.begin(), out.end());
    }
    ExpectSameBits(all, pieces, "small batches");
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MatMulTest,
                         testing::Combine(testing::ValuesIn(kTypes),
                                          testing::Values(ComputeMode::kFast, ComputeMode::kExact)),
                         [](const auto& test) {
                           return std::string(Name(std::get<0>(test.param))) +
                                  (std::get<1>(test.param) == ComputeMode::kFast ? "_fast"
                                                                                 : "_exact");
                         });

}  // namespace
}  // namespace mixtral
