// SPDX-License-Identifier: Apache-2.0
// The commands of mixtral-train. Exit codes: 0 ok, 1 wrong command line, 2 bad input, 4 our bug,
// 130 interrupted.
#pragma once

#include <string>
#include <vector>

namespace mixtral::train {

int RunProgram(const std::vector<std::string>& arguments);

}  // namespace mixtral::train
