// SPDX-License-Identifier: Apache-2.0
// Reads the golden results of a fixture folder (golden.json and its safetensors), and the measures
// that its README defines. The folder is ../shared/fixtures, or $MIXTRAL_SHARED/fixtures.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"

namespace mixtral::testing {

/// $MIXTRAL_SHARED/fixtures, or "" when there is no such folder: the test skips.
std::string FixturesFolder();

struct GoldenPrompt {
  std::string name;
  std::vector<int32_t> tokens;
  std::vector<int32_t> argmax;        // [T]
  std::vector<int32_t> greedy;        // 32, or empty
  std::vector<double> greedy_margin;  // best minus second logit at each step
  std::optional<double> mean_nll, perplexity;
};

/// Files that hold the same weights, and what those compute.
class GoldenVariant {
 public:
  std::string name;
  std::vector<std::string> files;         // relative to the model's folder
  std::vector<std::string> tensor_types;  // of a quantised file; may be empty
  std::vector<GoldenPrompt> prompts;

  /// Tensor "PROMPT.WHAT" as floats or ints; empty when the goldens lack it.
  std::vector<float> Floats(const GoldenPrompt& prompt, const std::string& what) const;
  std::vector<int32_t> Ints(const GoldenPrompt& prompt, const std::string& what) const;

  std::shared_ptr<MappedFile> tensors;
};

std::vector<GoldenVariant> LoadGoldens(const std::string& model_folder);

/// log softmax of one row.
std::vector<double> LogSoftmax(std::span<const float> logits);

/// How far an engine's distributions are from golden ones, position by position.
class Divergence {
 public:
  /// All logits of both, [T, V].
  void Add(std::span<const float> golden, std::span<const float> engine, int vocab_size);
  /// Only the golden top n of a position and its log-sum-exp are known: the other tokens count as
  /// one, so this is a lower bound of the divergence.
  void AddTop(std::span<const int32_t> top_ids, std::span<const float> top_logits,
              float golden_logsumexp, std::span<const float> engine_row);

  double MeanKl() const;
  double MedianKl() const;
  double MedianWorstLogprobError() const;  // over positions, of tokens with p > 1e-6
  int SameArgmax() const { return same_; }
  int Positions() const { return static_cast<int>(kls_.size()); }

 private:
  std::vector<double> kls_, worsts_;
  int same_ = 0;
};

}  // namespace mixtral::testing
