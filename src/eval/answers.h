// SPDX-License-Identifier: Apache-2.0
// When a generated answer counts as right, by the definitions of the benchmarks and of
// lm-evaluation-harness: normalised strings, overlap of words, numbers at the end of a reasoning,
// boxed results, majority votes. Pure text functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::eval {

/// SQuAD's normalisation: lower case (ASCII), without ASCII punctuation, without the words a, an
/// and the, single blanks.
std::string NormalizeAnswer(std::string_view text);
/// lm-evaluation-harness's exact_match with ignore_case and ignore_punctuation: as above, but
/// articles stay.
std::string FoldAnswer(std::string_view text);
/// Words in common by SQuAD's F1 of normalised texts; 1 when both are empty.
double WordF1(std::string_view answer, std::string_view reference);

/// The last number of the text as "1234.5": without thousands' commas, currency and a final point;
/// empty when there is none.
std::string LastNumber(std::string_view text);
/// GSM8K's "#### 42", else the last number.
std::string FinalNumber(std::string_view text);
/// "18.0" and "18" are the same number.
bool SameNumber(std::string_view a, std::string_view b);

/// What is inside the last \boxed{...} (or \fbox{...}), braces balanced; empty when there is none.
std::string BoxedAnswer(std::string_view text);
/// MATH's equality: after removing what changes no value (blanks, \left, \right, \!, dollar signs,
/// units in \text, degrees, per cent) and writing fractions and roots in one way.
bool SameMath(std::string_view a, std::string_view b);

/// What follows "the answer is ", up to the end of the line and without a final point; empty when
/// that does not occur (BIG-Bench Hard).
std::string AfterTheAnswerIs(std::string_view text);

/// The most frequent non-empty vote, of equal ones the earliest; empty when there is none.
std::string Majority(std::span<const std::string> votes);

}  // namespace mixtral::eval
