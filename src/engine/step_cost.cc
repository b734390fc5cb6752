// SPDX-License-Identifier: Apache-2.0
// Averages over numbers of rows that double. A step costs more with more rows, but less per row; so
// a number that was never seen costs at most what more rows did, and at most fewer in proportion.
#include "engine/step_cost.h"

#include <algorithm>
#include <bit>
#include <tuple>

namespace mixtral {
namespace {

constexpr double kWeight = 0.25;  // of the newest step in an average
// An average of more rows is believed a little less after each mixed step that stayed below it: one
// slow step (weights read from disk) must not keep the slices small for ever.
constexpr double kForget = 0.998;

}  // namespace

size_t StepCost::BucketOf(int rows) {
  const auto at = static_cast<size_t>(std::bit_width(static_cast<unsigned>(std::max(rows, 1) - 1)));
  return std::min(at, std::tuple_size_v<decltype(buckets_)> - 1);
}

void StepCost::Record(int n_streams, int prompt_rows, double seconds) {
  if (n_streams + prompt_rows <= 0 || seconds <= 0) return;
  const int rows = n_streams + prompt_rows;
  Bucket& bucket = buckets_[BucketOf(rows)];
  const double weight = bucket.rows == 0 ? 1.0 : kWeight;
  bucket.rows += weight * (rows - bucket.rows);
  bucket.seconds += weight * (seconds - bucket.seconds);
  if (n_streams == 0 || prompt_rows == 0) return;
  for (size_t i = BucketOf(rows) + 1; i < buckets_.size(); ++i) buckets_[i].seconds *= kForget;
}

/// Within a bucket that was seen what was seen; else the bound from the averages around it.
double StepCost::Seconds(int rows) const {
  const size_t at = BucketOf(rows);
  const Bucket *below = nullptr, *above = nullptr;
  for (size_t i = 0; i < at; ++i)
    if (buckets_[i].rows > 0) below = &buckets_[i];
  for (size_t i = buckets_.size() - 1; i > at; --i)
    if (buckets_[i].rows > 0) above = &buckets_[i];
  const Bucket& own = buckets_[at];
  if (own.rows > 0) {
    if (rows >= own.rows) return own.seconds * rows / own.rows;
    if (below == nullptr) return own.seconds;
    const double part = (rows - below->rows) / (own.rows - below->rows);
    return below->seconds + part * (own.seconds - below->seconds);
  }
  if (below == nullptr) return above == nullptr ? 0 : above->seconds;
  const double bound = below->seconds * rows / below->rows;
  return above == nullptr ? bound : std::min(bound, above->seconds);
}

int StepCost::PromptRows(int n_streams, int max_rows) const {
  const Bucket& normal = buckets_[BucketOf(n_streams)];
  if (normal.rows == 0) return 0;
  int low = 1, high = std::max(1, max_rows);
  while (low < high) {
    const int middle = low + (high - low + 1) / 2;
    if (Seconds(n_streams + middle) <= kLongest * normal.seconds)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

}  // namespace mixtral
