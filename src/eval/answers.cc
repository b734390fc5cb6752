// SPDX-License-Identifier: Apache-2.0
#include "eval/answers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <map>

#include "base/strings.h"

namespace mixtral::eval {
namespace {

bool IsPunctuation(char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; }
bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char Lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  bool in_word = false;
  for (const char c : text) {
    if (!IsSpace(c) && !in_word) words.emplace_back();
    in_word = !IsSpace(c);
    if (in_word) words.back() += c;
  }
  return words;
}

std::string Folded(std::string_view text) {
  std::string folded;
  for (const char c : text)
    if (!IsPunctuation(c)) folded += Lower(c);
  return folded;
}

std::string JoinWords(const std::vector<std::string>& words) { return Join(words, " "); }

bool IsArticle(const std::string& word) { return word == "a" || word == "an" || word == "the"; }

void ReplaceAll(std::string* text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text->find(from, at)) != std::string::npos; at += to.size())
    text->replace(at, from.size(), to);
}

/// The group that begins with "{" at text[at]; its end is one past the closing brace, or npos.
size_t EndOfGroup(std::string_view text, size_t at) {
  int depth = 0;
  for (; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}' && --depth == 0) return at + 1;
  }
  return std::string_view::npos;
}

/// \frac12, \frac1{2} and \sqrt2 with braces around every argument.
std::string WithBraces(const std::string& text, std::string_view command, int n_arguments) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    if (text.compare(at, command.size(), command) != 0) {
      out += text[at++];
      continue;
    }
    out += command;
    at += command.size();
    for (int i = 0; i < n_arguments && at < text.size(); ++i) {
      if (text[at] == '{') {
        const size_t end = std::min(EndOfGroup(text, at), text.size());
        out.append(text, at, end - at);
        at = end;
      } else if (text[at] == '\\') {
        break;
      } else {
        out += std::string("{") + text[at++] + "}";
      }
    }
  }
  return out;
}

/// "3/4" of plain integers as a fraction.
std::string SlashAsFraction(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) return text;
  for (size_t i = 0; i < text.size(); ++i)
    if (i != slash && !IsDigit(text[i]) && !(i == 0 && text[i] == '-')) return text;
  return "\\frac{" + text.substr(0, slash) + "}{" + text.substr(slash + 1) + "}";
}

std::string NormalizeMath(std::string_view given) {
  std::string text(given);
  ReplaceAll(&text, "\n", "");
  ReplaceAll(&text, "\\!", "");
  ReplaceAll(&text, "\\\\", "\\");
  ReplaceAll(&text, "tfrac", "frac");
  ReplaceAll(&text, "dfrac", "frac");
  for (const char* gone : {"\\left", "\\right", "^{\\circ}", "^\\circ", "\\$", "$", "\\%", "%"})
    ReplaceAll(&text, gone, "");
  if (const size_t units = text.find("\\text{ "); units != std::string::npos) text.resize(units);
  ReplaceAll(&text, " .", " 0.");
  ReplaceAll(&text, "{.", "{0.");
  if (!text.empty() && text[0] == '.') text.insert(0, "0");
  if (const size_t equals = text.find('='); equals != std::string::npos && equals <= 2)
    text.erase(0, equals + 1);  // "x = 5"
  text = WithBraces(text, "\\sqrt", 1);
  ReplaceAll(&text, " ", "");
  text = WithBraces(text, "\\frac", 2);
  if (text == "0.5") text = "\\frac{1}{2}";
  return SlashAsFraction(text);
}

}  // namespace

std::string FoldAnswer(std::string_view text) { return JoinWords(Words(Folded(text))); }

std::string NormalizeAnswer(std::string_view text) {
  std::vector<std::string> words = Words(Folded(text));
  std::erase_if(words, IsArticle);
  return JoinWords(words);
}

double WordF1(std::string_view answer, std::string_view reference) {
  const std::vector<std::string> a = Words(NormalizeAnswer(answer));
  const std::vector<std::string> b = Words(NormalizeAnswer(reference));
  if (a.empty() || b.empty()) return a.empty() == b.empty() ? 1 : 0;
  std::map<std::string, int> left;
  for (const std::string& word : b) ++left[word];
  int n_common = 0;
  for (const std::string& word : a)
    if (left[word]-- > 0) ++n_common;
  return 2.0 * n_common / static_cast<double>(a.size() + b.size());
}

std::string LastNumber(std::string_view text) {
  std::string last;
  for (size_t i = 0; i < text.size();) {
    if (!IsDigit(text[i])) {
      ++i;
      continue;
    }
    std::string number = i > 0 && text[i - 1] == '-' ? "-" : "";
    for (; i < text.size(); ++i) {
      const bool inner =
          (text[i] == ',' || text[i] == '.') && i + 1 < text.size() && IsDigit(text[i + 1]);
      if (!IsDigit(text[i]) && !inner) break;
      if (text[i] != ',') number += text[i];
    }
    last = number;
  }
  return last;
}

std::string FinalNumber(std::string_view text) {
  const size_t mark = text.find("####");
  if (mark == std::string_view::npos) return LastNumber(text);
  const std::string_view line = text.substr(mark, text.find('\n', mark) - mark);
  const std::string number = LastNumber(line);
  return number.empty() ? LastNumber(text) : number;
}

bool SameNumber(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return false;
  return std::strtod(std::string(a).c_str(), nullptr) ==
         std::strtod(std::string(b).c_str(), nullptr);
}

std::string BoxedAnswer(std::string_view text) {
  for (const std::string_view command : {"\\boxed", "\\fbox"}) {
    const size_t at = text.rfind(command);
    if (at == std::string_view::npos) continue;
    const size_t begin = at + command.size();
    if (begin < text.size() && text[begin] == ' ') {  // "\boxed 5$"
      const size_t end = text.find('$', begin);
      return std::string(text.substr(begin + 1, end == text.npos ? end : end - begin - 1));
    }
    if (begin >= text.size() || text[begin] != '{') continue;
    const size_t end = EndOfGroup(text, begin);
    if (end == std::string_view::npos) continue;
    return std::string(text.substr(begin + 1, end - begin - 2));
  }
  return "";
}

bool SameMath(std::string_view a, std::string_view b) {
  return NormalizeMath(a) == NormalizeMath(b);
}

std::string AfterTheAnswerIs(std::string_view text) {
  constexpr std::string_view kMark = "the answer is ";
  const size_t mark = text.find(kMark);
  if (mark == std::string_view::npos) return "";
  const size_t begin = mark + kMark.size();
  std::string_view rest = text.substr(begin, text.find('\n', begin) - begin);
  while (!rest.empty() && IsSpace(rest.back())) rest.remove_suffix(1);
  if (!rest.empty() && rest.back() == '.') rest.remove_suffix(1);
  return std::string(rest);
}

std::string Majority(std::span<const std::string> votes) {
  std::map<std::string, int> counts;
  for (const std::string& vote : votes)
    if (!vote.empty()) ++counts[vote];
  std::string best;
  for (const std::string& vote : votes)
    if (!vote.empty() && (best.empty() || counts[vote] > counts[best])) best = vote;
  return best;
}

}  // namespace mixtral::eval
