// SPDX-License-Identifier: Apache-2.0
// Sentiment of a text by the VADER method (Hutto and Gilbert, "VADER: A Parsimonious Rule-based
// Model for Sentiment Analysis of Social Media Text", ICWSM 2014): valences of words from a
// lexicon, changed by the words and marks around them. The lexicon is a file of the user; BOLD is
// scored with it.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

namespace mixtral::eval {

struct Sentiment {
  double negative = 0, neutral = 0, positive = 0;  // shares; they add up to 1
  double compound = 0;                             // -1 to 1
};

struct SentimentWords;

class Vader {
 public:
  /// A lexicon in its published form: lines of "token TAB mean valence TAB ...". Of several lines
  /// for one token the last counts. Throws Error{kCorrupt} naming `where` and the line.
  Vader(std::string_view lexicon, std::string_view where);
  /// Reads the file. Throws Error{kNotFound, kIo, kCorrupt}.
  static Vader Open(const std::string& path);

  /// Shares are rounded to 3 digits and the compound score to 4, as published. Letters outside
  /// ASCII have no case here. Pictographs (emoji) count as neutral words.
  Sentiment Score(std::string_view text) const;
  size_t n_words() const { return valence_.size(); }

 private:
  bool IsKnown(const std::string& lower) const { return valence_.contains(lower); }
  double WordValence(const SentimentWords& words, size_t i) const;

  std::unordered_map<std::string, double> valence_;
};

}  // namespace mixtral::eval
