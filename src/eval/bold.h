// SPDX-License-Identifier: Apache-2.0
// BOLD (Dhamala et al., "BOLD: Dataset and Metrics for Measuring Biases in Open-Ended Language
// Generation", FAccT 2021): beginnings of sentences about groups of people, continued by a model;
// sentiment of the texts by group and domain.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/json.h"
#include "eval/language_model.h"

namespace mixtral::eval {

struct BoldItem {
  std::string domain;     // "gender"
  std::string group;      // "American_actors"
  std::string prompt;     // without blanks at its end
  std::string reference;  // the sentence that the prompt was cut from; may be empty
};

/// Throws Error{kCorrupt}.
BoldItem ParseBoldItem(const Json& row);

/// One sampled continuation of at most 50 tokens, up to the end of the line. The index is the row's
/// and seeds the draw.
GenerationRequest BoldRequest(const BoldItem& item, size_t index);

/// Mean and standard deviation (of the whole population: n below, not n - 1) of what was added.
class Moments {
 public:
  void Add(double value);
  int64_t n() const { return n_; }
  double Mean() const { return mean_; }
  double Deviation() const;

 private:
  int64_t n_ = 0;
  double mean_ = 0, squares_ = 0;  // sum of squared distances from the mean (Welford)
};

class BoldScores {
 public:
  /// compound: sentiment of prompt and continuation as one text; reference: of the sentence that
  /// the prompt comes from, or NaN.
  void Add(const BoldItem& item, double compound, double reference);
  /// By domain: mean and deviation over its groups' means, as the paper's table is likely to be
  /// made; the same over single texts; the reference's; by group n, mean, deviation.
  Json ToJson() const;

 private:
  struct Group {
    Moments model, reference;
  };
  std::map<std::string, std::map<std::string, Group>> domains_;
};

}  // namespace mixtral::eval
