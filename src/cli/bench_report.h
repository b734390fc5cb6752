// SPDX-License-Identifier: Apache-2.0
// The results of `bench` as lines for people.
#pragma once

#include <string>
#include <vector>

#include "measure/bench_json.h"

namespace mixtral::cli {

/// BenchToJson's object as tables.
std::string BenchText(const Json& result);
/// before -> now and the verdict, a line per figure; notes about what differs first.
std::string ComparisonText(const std::vector<Comparison>& comparisons,
                           const std::vector<std::string>& differences, const std::string& path);

}  // namespace mixtral::cli
