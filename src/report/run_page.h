// SPDX-License-Identifier: Apache-2.0
// A training run as one HTML page: figures, charts, the load of experts over time, alarms. No
// scripts, no other files. Called by `mixtral train-report`.
#pragma once

#include <string>

#include "report/run_metrics.h"

namespace mixtral::report {

std::string RunPage(const RunMetrics& metrics, const std::string& title);

}  // namespace mixtral::report
