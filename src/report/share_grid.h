// SPDX-License-Identifier: Apache-2.0
// Shares between 0 and 1 over two axes as SVG, such as answers found by length and place.
#pragma once

#include <string>
#include <vector>

namespace mixtral::report {

struct ShareGrid {
  std::string x_label, y_label;
  std::vector<std::string> columns, rows;   // names, left to right and top to bottom
  std::vector<std::vector<double>> values;  // [rows][columns]; not finite: an empty cell
};

/// Orange at 0, blue at 1, with the value in percent in every cell. The colours of letters follow
/// the reader's scheme, in a page and as a file of its own.
std::string DrawShareGrid(const ShareGrid& grid);

}  // namespace mixtral::report
