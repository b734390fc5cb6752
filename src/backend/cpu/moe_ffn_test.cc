// SPDX-License-Identifier: Apache-2.0
// MoeFfn against the paper's formula in plain double loops, for odd shapes, mixed types, policies
// and stores that hand out experts one at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "backend/backend.h"
#include "backend/cpu/test_support.h"
#include "moe/resident_store.h"

namespace mixtral {
namespace {

using cpu_test::Dot;
using cpu_test::ExpectSameBits;
using cpu_test::RandomWeight;
using cpu_test::TestWeight;

struct Types {
  DType router = DType::kF32, gate = DType::kF32, up = DType::kF32, down = DType::kF32;
};

struct Shape {
  int n_experts = 8, k = 2, dim = 48, ffn_dim = 40;
  Types types = {};
};

struct TestExpert {
  std::unique_ptr<TestWeight> gate, up, down;
};

struct TestLayer {
  explicit TestLayer(const Shape& s) : shape(s) {
    if (s.n_experts > 0) router = RandomWeight(s.types.router, s.n_experts, s.dim, 99);
    for (int e = 0; e < std::max(s.n_experts, 1); ++e) {
      const auto seed = static_cast<uint64_t>(e) * 3;
      experts.push_back({RandomWeight(s.types.gate, s.ffn_dim, s.dim, seed),
                         RandomWeight(s.types.up, s.ffn_dim, s.dim, seed + 1),
                         RandomWeight(s.types.down, s.dim, s.ffn_dim, seed + 2)});
    }
  }
  std::vector<ExpertWeights> Upload(Backend* backend) const {
    std::vector<ExpertWeights> refs;
    for (const TestExpert& expert : experts)
      refs.push_back({backend->Upload(expert.gate->view), backend->Upload(expert.up->view),
                      backend->Upload(expert.down->view)});
    return refs;
  }
  Shape shape;
  std::unique_ptr<TestWeight> router;
  std::vector<TestExpert> experts;
};

/// Hands out one expert per wave, the last one first.
class OneAtATimeStore final : public ExpertStore {
 public:
  explicit OneAtATimeStore(std::vector<ExpertWeights> experts) : experts_(std::move(experts)) {}
  void Prefetch(int, std::span<const int32_t>) override {}
  void Begin(int, std::span<const int32_t> expert_ids) override {
    wanted_.assign(expert_ids.begin(), expert_ids.end());
    EXPECT_TRUE(std::is_sorted(wanted_.begin(), wanted_.end()));
  }
  int NextWave(std::span<ExpertLease> leases) override {
    if (wanted_.empty()) return 0;
    leases[0] = {wanted_.back(), experts_[static_cast<size_t>(wanted_.back())]};
    wanted_.pop_back();
    return 1;
  }

 private:
  std::vector<ExpertWeights> experts_;
  std::vector<int32_t> wanted_;
};

enum class StoreKind { kResident, kOneAtATime };

struct Manner {
  int n_threads = 1;
  ComputeMode mode = ComputeMode::kFast;
  StoreKind store = StoreKind::kResident;
};

struct Result {
  std::vector<float> out, logits, weights;
  std::vector<int32_t> ids;
  int64_t k = 0;
};

Result RunMoe(const TestLayer& layer, const Manner& manner, Matrix<const float> x,
              std::span<const RoutingPolicy* const> policies = {}) {
  const Shape& s = layer.shape;
  const auto backend = MakeCpuBackend(manner.n_threads, manner.mode);
  BackendSetup setup = cpu_test::SmallSetup(static_cast<int>(x.rows), s.dim);
  setup.ffn_dim = s.ffn_dim;
  setup.n_experts = s.n_experts;
  setup.max_k = s.n_experts == 0 ? 0 : std::min(s.k + 1, s.n_experts);
  setup.max_slots = static_cast<int>(x.rows) * std::max(setup.max_k, 1);
  backend->Prepare(setup);
  std::unique_ptr<ExpertStore> store;
  if (manner.store == StoreKind::kResident)
    store = std::make_unique<ResidentStore>(
        std::vector<std::vector<ExpertWeights>>{layer.Upload(backend.get())});
  else
    store = std::make_unique<OneAtATimeStore>(layer.Upload(backend.get()));
  const Activation in = backend->AllocActivation(x.rows, s.dim);
  for (int64_t t = 0; t < x.rows; ++t) std::copy_n(x.Row(t), s.dim, in.Row(t));
  const Activation out = backend->AllocActivation(x.rows, s.dim);
  std::fill_n(out.data, out.rows * out.stride, std::nanf(""));  // every row must be overwritten
  Result result;
  result.logits.resize(static_cast<size_t>(x.rows * s.n_experts));
  const Routing routing =
      backend->MoeFfn({.x = in,
                       .router = layer.router ? backend->Upload(layer.router->view) : WeightRef{},
                       .store = store.get(),
                       .experts_per_token = s.k,
                       .row_policies = policies,
                       .out = out,
                       .router_logits = {result.logits.data(), x.rows, s.n_experts, s.n_experts}});
  result.out = cpu_test::Values(out);
  result.k = routing.expert_ids.cols;
  const auto n = x.rows * result.k;
  result.ids.assign(routing.expert_ids.data, routing.expert_ids.data + n);
  result.weights.assign(routing.weights.data, routing.weights.data + n);
  return result;
}

double Silu(double x) { return x / (1 + std::exp(-x)); }

/// One expert's output in double, and roughly how far a mode may be from it.
void AddExpert(const TestExpert& expert, const float* x, double weight, bool fast,
               std::vector<double>* out, std::vector<double>* bound) {
  const int64_t ffn_dim = expert.gate->rows(), dim = expert.gate->cols();
  std::vector<float> h;
  std::vector<double> h_bound;
  for (int64_t r = 0; r < ffn_dim; ++r) {
    const auto gate = Dot(x, expert.gate->values.data() + r * dim, dim,
                          fast && cpu_test::IsQuantised(expert.gate->view.dtype));
    const auto up = Dot(x, expert.up->values.data() + r * dim, dim,
                        fast && cpu_test::IsQuantised(expert.up->view.dtype));
    h.push_back(static_cast<float>(Silu(gate.value) * up.value));
    h_bound.push_back(1.1 * gate.bound * (std::abs(up.value) + up.bound) +
                      (std::abs(gate.value) + gate.bound) * up.bound +
                      1e-6 * std::abs(double{h.back()}));
  }
  for (int64_t r = 0; r < dim; ++r) {
    const float* row = expert.down->values.data() + r * ffn_dim;
    const auto down =
        Dot(h.data(), row, ffn_dim, fast && cpu_test::IsQuantised(expert.down->view.dtype));
    (*out)[static_cast<size_t>(r)] += weight * down.value;
    double propagated = down.bound;
    for (int64_t i = 0; i < ffn_dim; ++i)
      propagated += std::abs(double{row[i]}) * h_bound[static_cast<size_t>(i)];
    (*bound)[static_cast<size_t>(r)] += weight * propagated + 1e-6 * std::abs(down.value);
  }
}

std::vector<float> RandomInput(const Shape& shape, int64_t n_tokens) {
  std::vector<float> x(static_cast<size_t>(n_tokens * shape.dim));
  cpu_test::FillRandom({x.data(), n_tokens, shape.dim, shape.dim}, 77);
  return x;
}

void ExpectFormula(const Shape& shape, ComputeMode mode, int64_t n_tokens) {
  const TestLayer layer(shape);
  const std::vector<float> x = RandomInput(shape, n_tokens);
  const Result result = RunMoe(layer, {2, mode}, {x.data(), n_tokens, shape.dim, shape.dim});
  ASSERT_EQ(result.k, std::max(shape.k, 1));
  double squared_error = 0, squared_sum = 0;
  for (int64_t t = 0; t < n_tokens; ++t) {
    const float* row = x.data() + t * shape.dim;
    std::vector<double> logits;
    for (int e = 0; e < shape.n_experts; ++e) {
      const auto logit = Dot(row, layer.router->values.data() + e * shape.dim, shape.dim, false);
      ASSERT_NEAR(result.logits[static_cast<size_t>(t * shape.n_experts + e)], logit.value,
                  logit.bound);
      logits.push_back(logit.value);
    }
    if (shape.n_experts == 0) logits = {0.0};
    std::vector<int> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    double sum = 0;
    for (int64_t i = 0; i < result.k; ++i)
      sum += std::exp(logits[static_cast<size_t>(order[static_cast<size_t>(i)])]);
    std::vector<double> expected(static_cast<size_t>(shape.dim)), bound(expected.size());
    for (int64_t i = 0; i < result.k; ++i) {
      const auto e = static_cast<size_t>(order[static_cast<size_t>(i)]);
      ASSERT_EQ(result.ids[static_cast<size_t>(t * result.k + i)], static_cast<int32_t>(e));
      const double weight = std::exp(logits[e]) / sum;
      ASSERT_NEAR(result.weights[static_cast<size_t>(t * result.k + i)], weight, 1e-5);
      AddExpert(layer.experts[e], row, weight, mode == ComputeMode::kFast, &expected, &bound);
    }
    for (int64_t c = 0; c < shape.dim; ++c) {
      const auto i = static_cast<size_t>(c);
      ASSERT_NEAR(result.out[static_cast<size_t>(t * shape.dim + c)], expected[i],
                  2 * bound[i] + 1e-5)
          << t << " " << c;
      const double error = double{result.out[static_cast<size_t>(t * shape.dim + c)]} - expected[i];
      squared_error += error * error;
      squared_sum += expected[i] * expected[i];
    }
  }
  // The bounds above are for the worst case; on average rounding errors cancel.
  EXPECT_LT(std::sqrt(squared_error / squared_sum), mode == ComputeMode::kFast ? 0.03 : 2e-6);
}

const Types kMixed = {DType::kQ8_0, DType::kQ4_K, DType::kQ8_0, DType::kQ6_K};

TEST(MoeFfn, EqualsTheFormula) {
  for (const ComputeMode mode : {ComputeMode::kExact, ComputeMode::kFast}) {
    ExpectFormula({}, mode, 70);
    ExpectFormula({4, 1}, mode, 9);
    ExpectFormula({3, 3}, mode, 9);
    ExpectFormula({8, 2, 256, 512, kMixed}, mode, 12);
    ExpectFormula({4, 2, 64, 96, {DType::kQ8_0, DType::kQ4_0, DType::kBF16, DType::kQ8_0}}, mode,
                  12);
  }
}

TEST(MoeFfn, DenseIsOneExpertWithWeightOne) {
  ExpectFormula({.n_experts = 0, .k = 0}, ComputeMode::kExact, 70);
  ExpectFormula({.n_experts = 0, .k = 0, .dim = 256, .ffn_dim = 256, .types = kMixed},
                ComputeMode::kFast, 70);
}

TEST(MoeFfn, TheRouterIsExactInBothModes) {
  const TestLayer layer({8, 2, 256, 512, kMixed});
  const std::vector<float> x = RandomInput(layer.shape, 3);
  const Matrix<const float> input = {x.data(), 3, 256, 256};
  const Result exact = RunMoe(layer, {1, ComputeMode::kExact}, input);
  const Result fast = RunMoe(layer, {1, ComputeMode::kFast}, input);
  EXPECT_NE(exact.out, fast.out);  // the modes do differ
  ExpectSameBits(exact.logits, fast.logits, "the router is exact in both");
}

TEST(MoeFfn, ThreadsWavesAndBatchesChangeNoBit) {
  for (const Shape& shape : {Shape{}, Shape{8, 2, 256, 512, kMixed}}) {
    const TestLayer layer(shape);
    const std::vector<float> x = RandomInput(shape, 150);
    const Matrix<const float> input = {x.data(), 150, shape.dim, shape.dim};
    for (const ComputeMode mode : {ComputeMode::kExact, ComputeMode::kFast}) {
      const Result all = RunMoe(layer, {1, mode}, input);
      ExpectSameBits(all.out, RunMoe(layer, {3, mode}, input).out, "threads");
      ExpectSameBits(all.out, RunMoe(layer, {2, mode, StoreKind::kOneAtATime}, input).out, "waves");
      std::vector<float> singles;
      for (int64_t t = 0; t < 150; ++t) {
        const Result one = RunMoe(layer, {1, mode}, {input.Row(t), 1, shape.dim, shape.dim});
        singles.insert(singles.end(), one.out.begin(), one.out.end());
      }
      ExpectSameBits(all.out, singles, "one token at a time");
    }
  }
}

TEST(MoeFfn, SumsInAscendingOrderOfExperts) {
  // Experts 0 and 1 give 2^27 and -2^27 with equal weights and cancel; expert 2, the heaviest,
  // gives 1, which survives only when it is added last.
  TestLayer layer({3, 3, 16, 16});
  const auto set = [](TestWeight* weight, int64_t r, int64_t c, float value) {
    std::byte* at = weight->storage.data() + 1 + 4 * (r * weight->cols() + c);
    std::memcpy(at, &value, 4);
  };
  const std::array<float, 3> outputs = {0x1p27f, -0x1p27f, 1.0f};
  for (int64_t e = 0; e < 3; ++e) {
    TestExpert& expert = layer.experts[static_cast<size_t>(e)];
    for (TestWeight* weight : {expert.gate.get(), expert.up.get(), expert.down.get()})
      std::fill(weight->storage.begin(), weight->storage.end(), std::byte{0});
    set(expert.gate.get(), 0, 0, 64);  // silu(64) = 64 in f32
    set(expert.up.get(), 0, 0, 0x1p-6f);
    for (int64_t r = 0; r < 16; ++r) set(expert.down.get(), r, 0, outputs[static_cast<size_t>(e)]);
    for (int64_t c = 0; c < 16; ++c) set(layer.router.get(), e, c, e == 2 ? 1.0f : 0.0f);
  }
  std::vector<float> x(16);
  x[0] = 1;
  const Result result = RunMoe(layer, {1, ComputeMode::kExact}, {x.data(), 1, 16, 16});
  ASSERT_EQ(result.ids, (std::vector<int32_t>{2, 0, 1}));
  for (const float value : result.out) EXPECT_EQ(value, result.weights[0]);
}

TEST(MoeFfn, PoliciesChooseTheExperts) {
  const TestLayer layer(Shape{});
  const std::vector<float> row = RandomInput(layer.shape, 1);
  std::vector<float> x;
  for (int t = 0; t < 4; ++t) x.insert(x.end(), row.begin(), row.end());
  const Matrix<const float> input = {x.data(), 4, 48, 48};
  const Result plain = RunMoe(layer, {}, {row.data(), 1, 48, 48});
  RoutingPolicy one, three, no_first;
  one.k = 1;
  three.k = 3;
  no_first.ban = {plain.ids[0]};
  const std::vector<const RoutingPolicy*> policies = {nullptr, &one, &three, &no_first};
  const Result result = RunMoe(layer, {.n_threads = 2}, input, policies);
  ASSERT_EQ(result.k, 3);
  ExpectSameBits({result.out.begin(), result.out.begin() + 48}, plain.out, "the model's own");
  EXPECT_EQ(result.ids[2], -1);
  EXPECT_EQ(result.ids[3], plain.ids[0]);
  EXPECT_EQ(result.ids[4], -1);
  EXPECT_EQ(result.ids[6], plain.ids[0]);
  EXPECT_NE(result.ids[8], -1);
  for (size_t i = 9; i < 12; ++i) EXPECT_NE(result.ids[i], plain.ids[0]);
  std::vector<double> alone(48), bound(48);
  AddExpert(layer.experts[static_cast<size_t>(plain.ids[0])], row.data(), 1, false, &alone, &bound);
  for (size_t c = 0; c < 48; ++c) EXPECT_NEAR(result.out[48 + c], alone[c], 2 * bound[c] + 1e-5);
}

TEST(MoeFfn, BrokenInputDoesNotHangOrCrash) {
  const TestLayer layer(Shape{});
  std::vector<float> x = RandomInput(layer.shape, 3);
  std::fill_n(x.begin() + 48, 48, std::nanf(""));
  const Result result = RunMoe(layer, {}, {x.data(), 3, 48, 48});
  EXPECT_TRUE(std::isnan(result.out[48]));
  EXPECT_FALSE(std::isnan(result.out[0]));
  EXPECT_FALSE(std::isnan(result.out[2 * 48]));
}

}  // namespace
}  // namespace mixtral
