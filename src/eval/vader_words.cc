// SPDX-License-Identifier: Apache-2.0
// Alphabetical, so that a list can be held against the published one. Words ending in "n't" need
// no line: the rule finds them.
#include "eval/vader_words.h"

namespace mixtral::eval {

const WordSet& Boosters() {
  static const WordSet words = {
      "absolutely",   "amazingly",  "awfully",      "completely",    "considerable",
      "considerably", "decidedly",  "deeply",       "effing",        "enormous",
      "enormously",   "entirely",   "especially",   "exceptional",   "exceptionally",
      "extreme",      "extremely",  "fabulously",   "flippin",       "flipping",
      "frackin",      "fracking",   "frickin",      "fricking",      "friggin",
      "frigging",     "fuckin",     "fucking",      "fuggin",        "fugging",
      "fully",        "greatly",    "hella",        "highly",        "hugely",
      "incredible",   "incredibly", "intensely",    "major",         "majorly",
      "more",         "most",       "particularly", "purely",        "quite",
      "really",       "remarkably", "so",           "substantially", "thoroughly",
      "total",        "totally",    "tremendous",   "tremendously",  "uber",
      "unbelievably", "unusually",  "utter",        "utterly",       "very"};
  return words;
}

const WordSet& Dampeners() {
  static const WordSet words = {"almost",   "barely",     "hardly",     "just enough",  "kind of",
                                "kind-of",  "kinda",      "kindof",     "less",         "little",
                                "marginal", "marginally", "occasional", "occasionally", "partly",
                                "scarce",   "scarcely",   "slight",     "slightly",     "somewhat",
                                "sort of",  "sort-of",    "sorta",      "sortof"};
  return words;
}

const WordSet& Negations() {
  static const WordSet words = {
      "aint",    "arent",   "cannot",  "cant",   "couldnt", "darent",   "despite", "didnt",
      "doesnt",  "dont",    "hadnt",   "hasnt",  "havent",  "isnt",     "mightnt", "mustnt",
      "neednt",  "neither", "never",   "none",   "nope",    "nor",      "not",     "nothing",
      "nowhere", "oughtnt", "rarely",  "seldom", "shant",   "shouldnt", "uh-uh",   "uhuh",
      "wasnt",   "werent",  "without", "wont",   "wouldnt"};
  return words;
}

const std::unordered_map<std::string, double>& Idioms() {
  static const std::unordered_map<std::string, double> phrases = {
      {"bad ass", 1.5},  {"beating heart", 3.1},  {"broken heart", -2.9},
      {"bus stop", 0.0}, {"kiss of death", -1.5}, {"the bomb", 3},
      {"the shit", 3},   {"to die for", 3},       {"yeah right", -2}};
  return phrases;
}

}  // namespace mixtral::eval
