// SPDX-License-Identifier: Apache-2.0
// What "Mixtral of Experts" (arXiv 2401.04088) reports, to stand beside one's own results.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/result_page.h"

namespace mixtral::eval {

/// Tables 2 to 4 and figure 5, by task name; "bold/DOMAIN" for BOLD. In per cent; BOLD's sentiment
/// from -1 to 1 and MT-Bench's rating from 1 to 10. Empty: the paper has none. A model's name says
/// where its protocol differs ("GPT-3.5, 10-shot").
std::span<const Reference> PaperNumbers(std::string_view task);
const std::map<std::string, std::vector<Reference>, std::less<>>& AllPaperNumbers();

}  // namespace mixtral::eval
