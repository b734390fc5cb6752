// SPDX-License-Identifier: Apache-2.0
// A bench's result as one JSON object, and what may be said of two of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "measure/bench_run.h"

namespace mixtral {

/// What was measured: "model", "machine" and "settings" tell whether two results may be compared.
Json BenchToJson(const Checkpoint& checkpoint, const BenchPlan& plan, const BenchResult& result);

struct Comparison {
  std::string name, unit;
  Spread before, now;
  Verdict verdict = Verdict::kNoise;
};

/// Ceilings and figures that both results have, in now's order. before: BenchToJson's object.
/// Throws Error{kCorrupt} naming what is missing.
std::vector<Comparison> CompareResults(const Json& before, const Json& now);
/// What makes the two hard to compare: "machine: AMD EPYC, now Intel Xeon"; empty: nothing.
std::vector<std::string> DifferencesOf(const Json& before, const Json& now);

Json ComparisonsToJson(const std::vector<Comparison>& comparisons);

}  // namespace mixtral
