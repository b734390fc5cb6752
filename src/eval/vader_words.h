// SPDX-License-Identifier: Apache-2.0
// The closed word lists of the VADER method, in lower case: degree adverbs that strengthen or
// weaken, negations, set phrases with a valence of their own. Facts of the published method (its
// authors' program, release 3.3); read by vader.cc alone.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

namespace mixtral::eval {

using WordSet = std::unordered_set<std::string>;

const WordSet& Boosters();
const WordSet& Dampeners();
const WordSet& Negations();
const std::unordered_map<std::string, double>& Idioms();

}  // namespace mixtral::eval
