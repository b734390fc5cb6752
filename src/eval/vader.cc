// SPDX-License-Identifier: Apache-2.0
// The rules and their constants are those of the authors' program (release 3.3), with one repair:
// a word after "but" always counts as after it (theirs looks words up by value and can take an
// earlier one with the same valence).
#include "eval/vader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"
#include "eval/vader_words.h"

namespace mixtral::eval {
namespace {

// Mean changes of intensity that people reported: for a degree adverb, for capitals, for negation,
// for an exclamation mark, for two or three question marks each, and for more of them.
constexpr double kBoost = 0.293, kCapitals = 0.733, kNegation = -0.74;
constexpr double kExclamation = 0.292, kQuestion = 0.18, kManyQuestions = 0.96;
// Approximates the largest expected sum.
constexpr double kAlpha = 15;

bool IsUpper(std::string_view word) {
  bool has_upper = false;
  for (const char c : word) {
    if (c >= 'a' && c <= 'z') return false;
    has_upper |= c >= 'A' && c <= 'Z';
  }
  return has_upper;
}

std::string Lower(std::string_view word) {
  std::string lower(word);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

bool IsPunctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Length in bytes of the white space at text[i], 0 for anything else; Unicode's spaces too.
size_t SpaceAt(std::string_view text, size_t i) {
  const auto c = static_cast<unsigned char>(text[i]);
  if (c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F)) return 1;
  for (const std::string_view space :
       {"\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF",
        "\xE2\x81\x9F", "\xE3\x80\x80"})
    if (text.substr(i).starts_with(space)) return space.size();
  const std::string_view rest = text.substr(i, 3);
  const bool is_wide = rest.size() == 3 && rest.starts_with("\xE2\x80") &&
                       static_cast<unsigned char>(rest[2]) <= 0x8A;
  return is_wide ? 3 : 0;
}

/// Without the punctuation around it, unless two characters or fewer would be left: then it is
/// likely an emoticon.
std::string_view Stripped(std::string_view token) {
  std::string_view bare = token;
  while (!bare.empty() && IsPunctuation(bare.front())) bare.remove_prefix(1);
  while (!bare.empty() && IsPunctuation(bare.back())) bare.remove_suffix(1);
  return CountCharacters(bare) <= 2 ? token : bare;
}

double Boost(const std::string& phrase) {
  if (Boosters().contains(phrase)) return kBoost;
  return Dampeners().contains(phrase) ? -kBoost : 0;
}

bool IsNegation(const std::string& lower) {
  return Negations().contains(lower) || lower.find("n't") != std::string::npos;
}

double Emphasis(std::string_view text) {
  const auto n_exclamations = std::min<int64_t>(std::count(text.begin(), text.end(), '!'), 4);
  const auto n_questions = std::count(text.begin(), text.end(), '?');
  double emphasis = static_cast<double>(n_exclamations) * kExclamation;
  if (n_questions > 3)
    emphasis += kManyQuestions;
  else if (n_questions > 1)
    emphasis += static_cast<double>(n_questions) * kQuestion;
  return emphasis;
}

double Rounded(double value, double scale) { return std::round(value * scale) / scale; }

Sentiment Summary(const std::vector<double>& valences, std::string_view text) {
  if (valences.empty()) return {};
  const double emphasis = Emphasis(text);
  double sum = 0, positive = 0, negative = 0, neutral = 0;
  for (const double valence : valences) {
    sum += valence;
    // One is added for each word, since a neutral word counts as one.
    if (valence > 0)
      positive += valence + 1;
    else if (valence < 0)
      negative += 1 - valence;
    else
      neutral += 1;
  }
  if (sum > 0) sum += emphasis;
  if (sum < 0) sum -= emphasis;
  if (positive > negative) positive += emphasis;
  if (positive < negative) negative += emphasis;
  const double total = positive + negative + neutral;
  return {.negative = Rounded(negative / total, 1e3),
          .neutral = Rounded(neutral / total, 1e3),
          .positive = Rounded(positive / total, 1e3),
          .compound = Rounded(sum / std::sqrt(sum * sum + kAlpha), 1e4)};
}

}  // namespace

struct SentimentWords {
  explicit SentimentWords(std::string_view text) {
    size_t begin = 0;
    const auto add = [&](size_t end) {
      if (end > begin) as_written.emplace_back(Stripped(text.substr(begin, end - begin)));
    };
    for (size_t i = 0; i < text.size();) {
      const size_t space = SpaceAt(text, i);
      if (space > 0) {
        add(i);
        begin = i + space;
      }
      i += std::max<size_t>(space, 1);
    }
    add(text.size());
    size_t n_upper = 0;
    for (const std::string& word : as_written) {
      lower.push_back(Lower(word));
      n_upper += IsUpper(word) ? 1 : 0;
    }
    has_mixed_case = n_upper > 0 && n_upper < as_written.size();
  }

  bool IsEmphasised(size_t i) const { return has_mixed_case && IsUpper(as_written[i]); }
  /// The words first..last, with single spaces.
  std::string Phrase(size_t first, size_t last) const {
    std::string phrase = lower[first];
    for (size_t i = first + 1; i <= last; ++i) phrase += " " + lower[i];
    return phrase;
  }

  std::vector<std::string> as_written, lower;
  bool has_mixed_case = false;  // some words are in capitals, not all
};

namespace {

/// What a set phrase around word i says, and the dampening of "kind of" and the like before it.
double WithIdioms(const SentimentWords& words, size_t i, double valence) {
  const size_t n = words.lower.size();
  const std::array<std::pair<size_t, size_t>, 5> before = {
      {{i - 1, i}, {i - 2, i}, {i - 2, i - 1}, {i - 3, i - 1}, {i - 3, i - 2}}};
  for (const auto& [first, last] : before) {
    const auto idiom = Idioms().find(words.Phrase(first, last));
    if (idiom == Idioms().end()) continue;
    valence = idiom->second;
    break;
  }
  for (size_t last = i + 1; last <= i + 2 && last < n; ++last) {
    const auto idiom = Idioms().find(words.Phrase(i, last));
    if (idiom != Idioms().end()) valence = idiom->second;
  }
  return valence + Boost(words.Phrase(i - 3, i - 1)) + Boost(words.Phrase(i - 3, i - 2)) +
         Boost(words.Phrase(i - 2, i - 1));
}

double Negated(const SentimentWords& words, size_t i, size_t distance, double valence) {
  const auto is = [&](size_t back, std::string_view word) { return words.lower[i - back] == word; };
  const auto is_so = [&](size_t back) { return is(back, "so") || is(back, "this"); };
  // "never so good" and "never this good" praise; "without doubt" denies nothing. As in the
  // authors' program, "so" right before a word raises it with any third word.
  if (distance == 2) {
    if (is(2, "never") && is_so(1)) return valence * 1.25;
    if (is(2, "without") && is(1, "doubt")) return valence;
  } else if (distance == 3) {
    if ((is(3, "never") && is_so(2)) || is_so(1)) return valence * 1.25;
    if (is(3, "without") && (is(2, "doubt") || is(1, "doubt"))) return valence;
  }
  return IsNegation(words.lower[i - distance]) ? valence * kNegation : valence;
}

}  // namespace

double Vader::WordValence(const SentimentWords& words, size_t i) const {
  const std::vector<std::string>& lower = words.lower;
  const auto known = valence_.find(lower[i]);
  if (known == valence_.end()) return 0;
  double valence = known->second;
  const auto is_no = [&](size_t back) { return i >= back && lower[i - back] == "no"; };
  if (lower[i] == "no" && i + 1 < lower.size() && IsKnown(lower[i + 1])) valence = 0;
  if (is_no(1) || is_no(2) || (is_no(3) && (lower[i - 1] == "or" || lower[i - 1] == "nor")))
    valence = known->second * kNegation;
  if (words.IsEmphasised(i)) valence += valence > 0 ? kCapitals : -kCapitals;

  constexpr std::array<double, 4> kFade = {0, 1, 0.95, 0.9};  // a modifier's weight by distance
  for (size_t distance = 1; distance <= 3 && distance <= i; ++distance) {
    const size_t at = i - distance;
    if (IsKnown(lower[at])) continue;
    double boost = Boost(lower[at]);
    if (boost != 0) {
      if (valence < 0) boost = -boost;
      if (words.IsEmphasised(at)) boost += valence > 0 ? kCapitals : -kCapitals;
    }
    valence = Negated(words, i, distance, valence + boost * kFade[distance]);
    if (distance == 3) valence = WithIdioms(words, i, valence);
  }
  const bool has_least = i > 0 && lower[i - 1] == "least" && !IsKnown("least");
  const bool is_harmless = i > 1 && (lower[i - 2] == "at" || lower[i - 2] == "very");
  return has_least && !is_harmless ? valence * kNegation : valence;
}

Vader::Vader(std::string_view lexicon, std::string_view where) {
  size_t number = 0;
  for (std::string_view line : Split(lexicon, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const auto fields = Split(line, '\t');
    double valence = 0;
    const char* end = fields.size() > 1 ? fields[1].data() + fields[1].size() : nullptr;
    if (fields.size() < 2 || fields[0].empty() ||
        std::from_chars(fields[1].data(), end, valence).ptr != end || !std::isfinite(valence))
      Throw(ErrorCode::kCorrupt,
            "sentiment lexicon: expected a token, a tab and a number, found \"{}\", in {}:{}",
            Printable(line), where, number);
    valence_[std::string(fields[0])] = valence;
  }
  if (valence_.empty())
    Throw(ErrorCode::kCorrupt,
          "sentiment lexicon: expected tokens with valences, found none, in {}", where);
}

Vader Vader::Open(const std::string& path) {
  if (!std::filesystem::exists(path))
    Throw(ErrorCode::kNotFound,
          "sentiment lexicon: expected vader_lexicon.txt of the npm package vader-sentiment "
          "(--vader-lexicon FILE says where), found nothing, in {}",
          path);
  return Vader(ReadTextFile(path), path);
}

Sentiment Vader::Score(std::string_view text) const {
  const SentimentWords words(text);
  const size_t n = words.lower.size();
  std::vector<double> valences(n);
  for (size_t i = 0; i < n; ++i) {
    const bool is_kind_of = words.lower[i] == "kind" && i + 1 < n && words.lower[i + 1] == "of";
    if (Boost(words.lower[i]) == 0 && !is_kind_of) valences[i] = WordValence(words, i);
  }
  const auto but = std::find(words.lower.begin(), words.lower.end(), "but");
  if (but != words.lower.end()) {
    const auto at = static_cast<size_t>(but - words.lower.begin());
    for (size_t i = 0; i < n; ++i)
      if (i != at) valences[i] *= i < at ? 0.5 : 1.5;
  }
  return Summary(valences, text);
}

}  // namespace mixtral::eval
