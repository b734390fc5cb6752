// SPDX-License-Identifier: Apache-2.0
// Tables for terminals.
#pragma once

#include <string>
#include <vector>

namespace mixtral::report {

/// Columns as wide as their widest cell, two blanks between them; the first is left-aligned.
std::string TextTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace mixtral::report
