// SPDX-License-Identifier: Apache-2.0
// How long forward steps take by their number of rows, learned from those that ran, and how many
// prompt rows may therefore join the streams of a step. Has no clock of its own and changes nothing
// but speed: what is computed never depends on it.
#pragma once

#include <array>
#include <cstddef>

namespace mixtral {

class StepCost {
 public:
  /// A step of so many rows took so long.
  void Record(int n_streams, int prompt_rows, double seconds);
  /// Prompt rows, at most max_rows, beside n_streams rows that come alone otherwise: as many as
  /// make the step at most kLongest times as long as without them, so that no stream waits more
  /// than two normal steps longer; at least one. 0: nobody knows yet how long a normal step is, so
  /// the streams should go alone once. A number of rows that was never seen is taken to cost in
  /// proportion to fewer ones, which is too much (weights are read once for all rows), so the
  /// answer grows from step to step.
  int PromptRows(int n_streams, int max_rows) const;

  /// Three times is what a step may take; what is missing is for steps that take longer than the
  /// last ones did (aiming at 3.0, a third of the steps missed it by a little).
  static constexpr double kLongest = 2.5;

 private:
  struct Bucket {
    double rows = 0, seconds = 0;  // running averages; 0 = never seen
  };
  static size_t BucketOf(int rows);
  double Seconds(int rows) const;

  std::array<Bucket, 24> buckets_{};  // of rows: 1, 2, 3..4, 5..8, 9..16, ...
};

}  // namespace mixtral
