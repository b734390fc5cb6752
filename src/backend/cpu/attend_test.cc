// SPDX-License-Identifier: Apache-2.0
// RopeAndStore and Attend against attention written as plain double loops, and the promises that
// pages, chunks, threads and neighbours change no bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "backend/backend.h"
#include "backend/cpu/test_support.h"

namespace mixtral {
namespace {

using cpu_test::ExpectSameBits;

struct Shape {
  int n_heads = 4, n_kv_heads = 2, head_dim = 8;
  int64_t window = 0;
  DType kv_dtype = DType::kF32;
};

/// q, k and v of one sequence before rotation, interleaved order.
struct Inputs {
  Inputs(const Shape& shape, int64_t n, uint64_t seed)
      : q(Fill(n, shape.n_heads * shape.head_dim, seed)),
        k(Fill(n, shape.n_kv_heads * shape.head_dim, seed + 1)),
        v(Fill(n, shape.n_kv_heads * shape.head_dim, seed + 2)),
        length(n) {}
  static std::vector<float> Fill(int64_t rows, int64_t cols, uint64_t seed) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    cpu_test::FillRandom({values.data(), rows, cols, cols}, seed);
    return values;
  }
  std::vector<float> q, k, v;
  int64_t length;
};

/// How the same computation is carried out; none of it may change a result.
struct Manner {
  int n_threads = 1, page_positions = 64;
  int64_t chunk = 1000;  // positions per step
  RopeOrder order = RopeOrder::kInterleaved;
};

constexpr float kTheta = 1e4f;

/// The row of a checkpoint with half-split order for a row in interleaved order.
std::vector<float> ToHalfOrder(const std::vector<float>& values, int head_dim) {
  std::vector<float> out(values.size());
  const auto p = static_cast<size_t>(head_dim);
  for (size_t head = 0; head < values.size(); head += p)
    for (size_t j = 0; j < p / 2; ++j) {
      out[head + j] = values[head + 2 * j];
      out[head + j + p / 2] = values[head + 2 * j + 1];
    }
  return out;
}

/// All sequences, advanced together in steps of manner.chunk; outputs [n, H*P] per sequence.
class Runner {
 public:
  Runner(const Shape& shape, const Manner& manner, const std::vector<const Inputs*>& sequences)
      : shape_(shape),
        manner_(manner),
        sequences_(sequences),
        backend_(MakeCpuBackend(manner.n_threads, ComputeMode::kExact)) {
    BackendSetup setup = cpu_test::SmallSetup(1000, 64);
    setup.n_heads = shape.n_heads;
    setup.n_kv_heads = shape.n_kv_heads;
    setup.head_dim = shape.head_dim;
    setup.rope_theta = kTheta;
    setup.rope_order = manner.order;
    backend_->Prepare(setup);
    MakeCaches();
  }

  std::vector<std::vector<float>> Run() {
    std::vector<std::vector<float>> outputs(sequences_.size());
    int64_t longest = 0;
    for (const Inputs* inputs : sequences_) longest = std::max(longest, inputs->length);
    for (int64_t start = 0; start < longest; start += manner_.chunk) Step(start, &outputs);
    return outputs;
  }

 private:
  /// Pages in descending order from a common pool, filled with NaN: nothing unwritten may be read.
  void MakeCaches() {
    const int pages_each = 1000 / manner_.page_positions + 1;
    const size_t page_bytes = static_cast<size_t>(shape_.n_kv_heads) * 2 *
                              static_cast<size_t>(manner_.page_positions) *
                              RowBytes(shape_.kv_dtype, shape_.head_dim);
    const size_t n_pages = static_cast<size_t>(pages_each) * sequences_.size();
    std::byte* memory = backend_->AllocCache(n_pages * page_bytes);
    std::memset(memory, 0xFF, n_pages * page_bytes);
    pages_.resize(n_pages);
    std::iota(pages_.rbegin(), pages_.rend(), 0);
    for (size_t s = 0; s < sequences_.size(); ++s)
      views_.push_back({shape_.kv_dtype, manner_.page_positions, shape_.n_kv_heads, shape_.head_dim,
                        pages_.data() + static_cast<size_t>(pages_each) * s, memory, page_bytes});
  }

  void Append(const std::vector<float>& from, int64_t cols, int64_t start, int64_t n, bool rotated,
              std::vector<float>* to) const {
    const std::vector<float> part(from.begin() + start * cols, from.begin() + (start + n) * cols);
    const bool half = rotated && manner_.order == RopeOrder::kHalf;
    const std::vector<float> rows = half ? ToHalfOrder(part, shape_.head_dim) : part;
    to->insert(to->end(), rows.begin(), rows.end());
  }

  void Step(int64_t start, std::vector<std::vector<float>>* outputs) {
    std::vector<float> q, k, v;
    std::vector<int64_t> positions;
    std::vector<RowRange> ranges;
    std::vector<KvView> views;
    std::vector<size_t> owners;
    const int64_t q_cols = shape_.n_heads * shape_.head_dim;
    const int64_t kv_cols = shape_.n_kv_heads * shape_.head_dim;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const Inputs& in = *sequences_[s];
      const int64_t n = std::min(manner_.chunk, in.length - start);
      if (n <= 0) continue;
      ranges.push_back({static_cast<int>(positions.size()), static_cast<int>(n), start});
      views.push_back(views_[s]);
      owners.push_back(s);
      for (int64_t i = 0; i < n; ++i) positions.push_back(start + i);
      Append(in.q, q_cols, start, n, true, &q);
      Append(in.k, kv_cols, start, n, true, &k);
      Append(in.v, kv_cols, start, n, false, &v);
    }
    const auto rows = static_cast<int64_t>(positions.size());
    const Activation q_act{q.data(), rows, q_cols, q_cols};
    std::vector<float> out(q.size());
    backend_->RopeAndStore(q_act, {k.data(), rows, kv_cols, kv_cols},
                           {v.data(), rows, kv_cols, kv_cols}, positions, ranges, views);
    backend_->Attend({q_act, ranges, views, shape_.window, {out.data(), rows, q_cols, q_cols}});
    for (size_t i = 0; i < ranges.size(); ++i) {
      const auto begin = out.begin() + ranges[i].first_row * q_cols;
      auto& to = (*outputs)[owners[i]];
      to.insert(to.end(), begin, begin + ranges[i].n_rows * q_cols);
    }
  }

  Shape shape_;
  Manner manner_;
  std::vector<const Inputs*> sequences_;
  std::unique_ptr<Backend> backend_;
  std::vector<int32_t> pages_;
  std::vector<KvView> views_;
};

std::vector<float> RunOne(const Shape& shape, const Manner& manner, const Inputs& inputs) {
  return Runner(shape, manner, {&inputs}).Run()[0];
}

/// One row's heads rotated in double; f32 inputs.
std::vector<double> Rotated(const float* row, int n_heads, int head_dim, int64_t position) {
  std::vector<double> out(static_cast<size_t>(n_heads * head_dim));
  for (int h = 0; h < n_heads; ++h)
    for (int j = 0; j < head_dim / 2; ++j) {
      const double angle =
          static_cast<double>(position) * std::pow(double{kTheta}, -2.0 * j / head_dim);
      const int i = h * head_dim + 2 * j;
      const double a = row[i], b = row[i + 1];
      out[static_cast<size_t>(i)] = a * std::cos(angle) - b * std::sin(angle);
      out[static_cast<size_t>(i) + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
  return out;
}

double AsStored(double value, DType dtype) {
  const auto f = static_cast<float>(value);
  return dtype == DType::kF16 ? F16ToF32(F32ToF16(f)) : f;
}

/// softmax(q k / sqrt(P)) v for every position and head in double.
std::vector<double> Reference(const Shape& shape, const Inputs& in) {
  const int p = shape.head_dim, group = shape.n_heads / shape.n_kv_heads;
  const int q_cols = shape.n_heads * p, kv_cols = shape.n_kv_heads * p;
  std::vector<std::vector<double>> keys;
  std::vector<double> out;
  for (int64_t t = 0; t < in.length; ++t) {
    keys.push_back(Rotated(in.k.data() + t * kv_cols, shape.n_kv_heads, p, t));
    const std::vector<double> q = Rotated(in.q.data() + t * q_cols, shape.n_heads, p, t);
    const int64_t first = shape.window > 0 ? std::max<int64_t>(0, t - shape.window + 1) : 0;
    for (int h = 0; h < shape.n_heads; ++h) {
      const int kv = h / group * p;
      std::vector<double> acc(static_cast<size_t>(p));
      double sum = 0;
      for (int64_t s = first; s <= t; ++s) {
        double score = 0;
        for (int j = 0; j < p; ++j)
          score +=
              q[static_cast<size_t>(h * p + j)] *
              AsStored(keys[static_cast<size_t>(s)][static_cast<size_t>(kv + j)], shape.kv_dtype);
        const double weight = std::exp(score / std::sqrt(static_cast<double>(p)));
        sum += weight;
        for (int j = 0; j < p; ++j)
          acc[static_cast<size_t>(j)] +=
              weight * AsStored(in.v[static_cast<size_t>(s * kv_cols + kv + j)], shape.kv_dtype);
      }
      for (const double a : acc) out.push_back(a / sum);
    }
  }
  return out;
}

class AttendShapes : public testing::TestWithParam<Shape> {};

TEST_P(AttendShapes, EqualsTheDoubleLoop) {
  const Shape shape = GetParam();
  const Inputs inputs(shape, 150, 21);
  const std::vector<float> out = RunOne(shape, {}, inputs);
  const std::vector<double> expected = Reference(shape, inputs);
  ASSERT_EQ(out.size(), expected.size());
  // In f16 a key may round to the other neighbour of what the reference stores.
  const double tolerance = shape.kv_dtype == DType::kF16 ? 1e-3 : 2e-5;
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], tolerance) << i;
}

TEST_P(AttendShapes, TheMannerChangesNoBit) {
  const Shape shape = GetParam();
  const Inputs inputs(shape, 201, 22);
  const std::vector<float> whole = RunOne(shape, {}, inputs);
  ExpectSameBits(whole, RunOne(shape, {.n_threads = 3}, inputs), "threads");
  ExpectSameBits(whole, RunOne(shape, {.page_positions = 128}, inputs), "pages of 128");
  ExpectSameBits(whole, RunOne(shape, {.chunk = 1}, inputs), "token by token");
  ExpectSameBits(whole, RunOne(shape, {.n_threads = 2, .page_positions = 192, .chunk = 37}, inputs),
                 "chunks of 37");
  ExpectSameBits(whole, RunOne(shape, {.order = RopeOrder::kHalf}, inputs), "half-split order");
}

TEST_P(AttendShapes, NeighboursChangeNoBit) {
  const Shape shape = GetParam();
  const Inputs a(shape, 130, 31), b(shape, 3, 32), c(shape, 66, 33);
  const Manner manner{.n_threads = 2, .chunk = 20};
  const auto together = Runner(shape, manner, {&a, &b, &c}).Run();
  ExpectSameBits(together[0], RunOne(shape, {}, a), "first of three");
  ExpectSameBits(together[1], RunOne(shape, {}, b), "second of three");
  ExpectSameBits(together[2], RunOne(shape, {}, c), "third of three");
}

TEST_P(AttendShapes, BrokenNeighbourChangesNoBit) {
  const Shape shape = GetParam();
  Inputs broken(shape, 70, 41);
  const Inputs sound(shape, 70, 42);
  std::fill(broken.q.begin(), broken.q.end(), std::nanf(""));
  std::fill(broken.v.begin(), broken.v.end(), std::nanf(""));
  const auto together = Runner(shape, {}, {&broken, &sound}).Run();
  EXPECT_TRUE(std::isnan(together[0][0]));
  ExpectSameBits(together[1], RunOne(shape, {}, sound), "beside a sequence of NaN");
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttendShapes,
                         testing::Values(Shape{}, Shape{8, 2, 32}, Shape{4, 1, 128}, Shape{3, 3, 8},
                                         Shape{8, 2, 32, 0, DType::kF16},
                                         Shape{4, 1, 128, 0, DType::kF16}, Shape{4, 2, 8, 1},
                                         Shape{4, 2, 8, 64}, Shape{4, 2, 8, 70},
                                         Shape{4, 2, 32, 100, DType::kF16}),
                         [](const auto& test) {
                           const Shape& s = test.param;
                           return std::to_string(s.n_heads) + "over" +
                                  std::to_string(s.n_kv_heads) + "x" + std::to_string(s.head_dim) +
                                  "_window" + std::to_string(s.window) + "_" +
                                  std::string(Name(s.kv_dtype));
                         });

}  // namespace
}  // namespace mixtral
