// SPDX-License-Identifier: Apache-2.0
// Agreement with results that another program computed, by the criteria of the fixtures' README:
// exact mode within 1e-3 on every file (quantised ones count as expanded to float), the fast path
// by divergence. Prints what was achieved, one line a file.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/golden.h"
#include "support/harness.h"

namespace mixtral::testing {
namespace {

constexpr double kExactTolerance = 1e-3;

struct Worst {
  double logits = 0, router = 0, weights = 0, hidden = 0, logprob = 0;
  int routed = 0, greedy = 0, greedy_wanted = 0;
};

template <class T>
std::vector<T> Concat(const std::vector<std::vector<T>>& parts) {
  std::vector<T> all;
  for (const std::vector<T>& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

void Raise(double* worst, double value) { *worst = std::max(*worst, value); }

// Router logits, ids where the gap is clear, and the weights of equal choices.
void CompareRouting(const GoldenVariant& golden, const GoldenPrompt& prompt, const Trace& trace,
                    int k, double clear_gap, Worst* worst) {
  const std::vector<float> router_logits = golden.Floats(prompt, "router_logits");
  if (router_logits.empty()) return;  // dense
  Raise(&worst->router, MaxAbsDifference(router_logits, Concat(trace.router_logits)));
  const std::vector<int32_t> want_ids = golden.Ints(prompt, "expert_ids");
  const std::vector<float> want_weights = golden.Floats(prompt, "expert_weights");
  const std::vector<float> gaps = golden.Floats(prompt, "router_gap");
  const std::vector<int32_t> ids = Concat(trace.expert_ids);
  const std::vector<float> weights = Concat(trace.expert_weights);
  ASSERT_EQ(ids.size(), want_ids.size());
  const auto width = static_cast<size_t>(k);
  for (size_t row = 0; row < gaps.size(); ++row) {
    if (gaps[row] <= clear_gap) continue;
    std::map<int32_t, float> chosen, wanted;
    for (size_t i = row * width; i < (row + 1) * width; ++i) {
      chosen[ids[i]] = weights[i];
      wanted[want_ids[i]] = want_weights[i];
      const bool last = i + 1 == (row + 1) * width;
      if (!last && want_weights[i] - want_weights[i + 1] > clear_gap) {  // else either order
        ASSERT_GT(weights[i], weights[i + 1]) << "heaviest first, row " << row;
      }
    }
    for (const auto& [id, weight] : wanted) {
      ASSERT_TRUE(chosen.contains(id)) << "expert " << id << " at layer*T + t = " << row;
      Raise(&worst->weights, std::fabs(double{chosen[id]} - weight));
    }
    ++worst->routed;
  }
}

// What the goldens have of the logits: all, or the last row, the top 20 and the normaliser.
void CompareLogits(const GoldenVariant& golden, const GoldenPrompt& prompt,
                   const std::vector<float>& logits, size_t vocab_size, Worst* worst) {
  const std::vector<float> all = golden.Floats(prompt, "logits");
  if (!all.empty()) Raise(&worst->logits, MaxAbsDifference(all, logits));
  const std::vector<float> last = golden.Floats(prompt, "last_logits");
  if (!last.empty())
    Raise(&worst->logits, MaxAbsDifference(last, std::span(logits).last(vocab_size)));
  ASSERT_TRUE(!all.empty() || !last.empty());
  const std::vector<int32_t> top_ids = golden.Ints(prompt, "top_ids");
  const std::vector<float> top_logits = golden.Floats(prompt, "top_logits");
  for (size_t i = 0; i < top_ids.size(); ++i) {
    const float found = logits[i / 20 * vocab_size + static_cast<size_t>(top_ids[i])];
    Raise(&worst->logits, std::fabs(double{found} - top_logits[i]));
  }
}

// Log-probability of every token after the first, mean and perplexity.
double CompareLogprobs(const GoldenVariant& golden, const GoldenPrompt& prompt,
                       const std::vector<float>& logits, size_t vocab_size, Worst* worst) {
  const std::vector<float> want = golden.Floats(prompt, "target_logprob");
  double sum = 0;
  for (size_t t = 0; t < want.size(); ++t) {
    const std::vector<double> row =
        LogSoftmax(std::span(logits).subspan(t * vocab_size, vocab_size));
    const double found = row[static_cast<size_t>(prompt.tokens[t + 1])];
    Raise(&worst->logprob, std::fabs(found - want[t]));
    sum -= found;
  }
  return want.empty() ? 0 : sum / static_cast<double>(want.size());
}

// Equal up to the first step whose margin is below the tolerance.
void CompareGreedy(const GoldenPrompt& prompt, Harness& harness, double margin, Worst* worst) {
  if (prompt.greedy.empty()) return;
  const std::vector<int32_t> found =
      harness.Greedy(prompt.tokens, static_cast<int>(prompt.greedy.size()));
  for (size_t i = 0; i < found.size() && prompt.greedy_margin[i] >= margin; ++i) {
    ++worst->greedy_wanted;
    ASSERT_EQ(found[i], prompt.greedy[i]) << "greedy step " << i << " of " << prompt.name;
    ++worst->greedy;
  }
}

void CheckExactly(const GoldenVariant& golden, const std::string& path) {
  HarnessOptions options;
  options.mode = ComputeMode::kExact;
  options.kv_dtype = DType::kF32;
  options.threads = 2;
  Harness harness(path, options);
  const auto vocab_size = static_cast<size_t>(harness.config().vocab_size);
  Worst worst;
  for (const GoldenPrompt& prompt : golden.prompts) {
    SCOPED_TRACE(prompt.name);
    Trace trace;
    std::vector<float> final_norm;
    const std::vector<float> logits = harness.RunTraced(prompt.tokens, &trace, &final_norm);
    CompareLogits(golden, prompt, logits, vocab_size, &worst);
    CompareRouting(golden, prompt, trace, harness.config().experts_per_token, kExactTolerance,
                   &worst);
    if (const auto hidden = golden.Floats(prompt, "hidden"); !hidden.empty())
      Raise(&worst.hidden, MaxAbsDifference(hidden, Concat(trace.hidden)));
    if (const auto norm = golden.Floats(prompt, "final_norm"); !norm.empty())
      Raise(&worst.hidden, MaxAbsDifference(norm, final_norm));
    const double nll = CompareLogprobs(golden, prompt, logits, vocab_size, &worst);
    if (prompt.mean_nll) {
      EXPECT_NEAR(nll, *prompt.mean_nll, 1e-4);
      EXPECT_NEAR(std::exp(nll) / *prompt.perplexity, 1.0, 1e-3);
    }
    CompareGreedy(prompt, harness, kExactTolerance, &worst);
  }
  EXPECT_LT(worst.logits, kExactTolerance);
  EXPECT_LT(worst.router, kExactTolerance);
  EXPECT_LT(worst.weights, kExactTolerance);
  EXPECT_LT(worst.hidden, kExactTolerance);
  EXPECT_LT(worst.logprob, kExactTolerance);
  std::printf(
      "  exact %-36s logits %.1e router %.1e weights %.1e hidden %.1e logprob %.1e, %d routings, "
      "greedy %d/%d\n",
      path.substr(path.find("fixtures/") + 9).c_str(), worst.logits, worst.router, worst.weights,
      worst.hidden, worst.logprob, worst.routed, worst.greedy, worst.greedy_wanted);
}

void AddPositions(const GoldenVariant& golden, const GoldenPrompt& prompt,
                  const std::vector<float>& logits, size_t vocab_size, Divergence* divergence) {
  const std::vector<float> all = golden.Floats(prompt, "logits");
  if (!all.empty()) return divergence->Add(all, logits, static_cast<int>(vocab_size));
  const std::vector<int32_t> top_ids = golden.Ints(prompt, "top_ids");
  const std::vector<float> top_logits = golden.Floats(prompt, "top_logits");
  const std::vector<float> logsumexp = golden.Floats(prompt, "logsumexp");
  for (size_t t = 0; t < logsumexp.size(); ++t)
    divergence->AddTop(std::span(top_ids).subspan(t * 20, 20),
                       std::span(top_logits).subspan(t * 20, 20), logsumexp[t],
                       std::span(logits).subspan(t * vocab_size, vocab_size));
}

// Float weights meet f32 activations, so the criteria of f16 activations are the wider ones;
// quantised weights meet 8-bit activations. Over all positions of a file, as in the README's table.
void CheckFastPath(const GoldenVariant& golden, const std::string& path, DType kv_dtype) {
  HarnessOptions options;
  options.kv_dtype = kv_dtype;
  options.threads = 2;
  Harness harness(path, options);
  const auto vocab_size = static_cast<size_t>(harness.config().vocab_size);
  const bool quantised = golden.name != "exact";
  Divergence divergence;
  double nll_error = 0;
  for (const GoldenPrompt& prompt : golden.prompts) {
    SCOPED_TRACE(prompt.name);
    Trace trace;
    std::vector<float> final_norm;
    const std::vector<float> logits = harness.RunTraced(prompt.tokens, &trace, &final_norm);
    AddPositions(golden, prompt, logits, vocab_size, &divergence);
    Worst worst;
    if (!quantised)
      CompareRouting(golden, prompt, trace, harness.config().experts_per_token, 0.02, &worst);
    const double nll = CompareLogprobs(golden, prompt, logits, vocab_size, &worst);
    if (prompt.mean_nll && prompt.tokens.size() > 100)
      Raise(&nll_error, std::fabs(nll - *prompt.mean_nll));
  }
  const double same = static_cast<double>(divergence.SameArgmax()) / divergence.Positions();
  EXPECT_LT(divergence.MeanKl(), quantised ? 0.03 : 1e-4);
  EXPECT_LT(divergence.MedianKl(), 0.01);
  EXPECT_GE(same, quantised ? 0.9 : 0.99);
  if (!quantised) {
    EXPECT_LT(divergence.MedianWorstLogprobError(), 0.02);
  }
  EXPECT_LT(nll_error, quantised ? 0.05 : 0.005);
  std::printf("  fast, %s cache, %-36s KL mean %.1e median %.1e, logprob %.1e, argmax %d/%d\n",
              std::string(Name(kv_dtype)).c_str(), path.substr(path.find("fixtures/") + 9).c_str(),
              divergence.MeanKl(), divergence.MedianKl(), divergence.MedianWorstLogprobError(),
              divergence.SameArgmax(), divergence.Positions());
}

bool Knows(const std::string& type) {
  return std::any_of(kDTypeInfo.begin(), kDTypeInfo.begin() + kNumMatrixDTypes,
                     [&](const DTypeInfo& info) { return info.name == type; });
}

// A file with a type that has no kernels yet is refused by a type's name, never misread.
void ExpectRefusal(const std::string& path) {
  try {
    OpenCheckpoint(path);
    ADD_FAILURE() << path << " was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("_K"), std::string::npos) << error.what();
  }
}

class Goldens : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (FixturesFolder().empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
    folder_ = FixturesFolder() + "/" + GetParam();
  }

  // Calls check(variant, path) for every file that can run.
  template <class Fn>
  void ForEachFile(Fn&& check) {
    for (const GoldenVariant& variant : LoadGoldens(folder_)) {
      SCOPED_TRACE(variant.name);
      const auto unknown =
          std::find_if_not(variant.tensor_types.begin(), variant.tensor_types.end(), Knows);
      for (const std::string& file : variant.files) {
        SCOPED_TRACE(file);
        if (unknown == variant.tensor_types.end())
          check(variant, folder_ + "/" + file);
        else
          std::printf("  not run: %s holds %s\n", file.c_str(), unknown->c_str());
      }
    }
  }
  std::string folder_;
};

TEST_P(Goldens, ExactMode) {
  ForEachFile(
      [](const GoldenVariant& variant, const std::string& path) { CheckExactly(variant, path); });
}

TEST_P(Goldens, FastPath) {
  ForEachFile([](const GoldenVariant& variant, const std::string& path) {
    CheckFastPath(variant, path, DType::kF16);
    CheckFastPath(variant, path, DType::kF32);
  });
}

INSTANTIATE_TEST_SUITE_P(Models, Goldens,
                         ::testing::Values("tiny-mixtral", "small-mixtral", "text-mixtral",
                                           "tied-mixtral", "dense-mistral"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GoldensOfLaterTypes, AreRefusedByName) {
  if (FixturesFolder().empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string folder = FixturesFolder() + "/small-mixtral";
  int n_refused = 0;
  for (const GoldenVariant& variant : LoadGoldens(folder)) {
    if (std::all_of(variant.tensor_types.begin(), variant.tensor_types.end(), Knows)) continue;
    for (const std::string& file : variant.files) ExpectRefusal(folder + "/" + file);
    ++n_refused;
  }
  if (n_refused == 0) GTEST_SKIP() << "every type of the fixtures has kernels";
}

}  // namespace
}  // namespace mixtral::testing
