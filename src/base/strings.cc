// SPDX-License-Identifier: Apache-2.0
// UTF-8, splitting and printing. Everything here takes hostile bytes.
#include "base/strings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

namespace mixtral {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Sequence {
  size_t length;  // bytes that belong together; 1 for an invalid byte
  enum Kind { kValid, kInvalid, kTruncated } kind;
};

unsigned Byte(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// The sequence at text[at], by table 3-7 of the Unicode standard: the first byte gives the length,
// and some first bytes narrow the range of the second (overlong forms, surrogates, > U+10FFFF).
Sequence SequenceAt(std::string_view text, size_t at) {
  const unsigned first = Byte(text, at);
  if (first < 0x80) return {1, Sequence::kValid};
  if (first < 0xC2 || first > 0xF4) return {1, Sequence::kInvalid};
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  unsigned low = 0x80, high = 0xBF;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {i, Sequence::kTruncated};
    if (Byte(text, at + i) < low || Byte(text, at + i) > high) return {1, Sequence::kInvalid};
    low = 0x80, high = 0xBF;
  }
  return {length, Sequence::kValid};
}

bool IsControl(std::string_view sequence) {
  const unsigned first = Byte(sequence, 0);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && Byte(sequence, 1) < 0xA0;  // U+0080..U+009F
}

std::string Scaled(uint64_t n, std::span<const std::string_view> units) {
  if (n < 1000) return units[0].empty() ? fmt::format("{}", n) : fmt::format("{} {}", n, units[0]);
  double value = static_cast<double>(n);
  size_t unit = 0;
  // 999.995 would print as "1000.00": the next unit takes over where the rounding does.
  while (value >= 999.995 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f} {}", value, units[unit]);
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substitute = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substitute, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Sequence sequence = SequenceAt(text, i);
    if (sequence.kind != Sequence::kValid) return false;
    i += sequence.length;
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Sequence sequence = SequenceAt(text, i);
    if (sequence.kind == Sequence::kValid) {
      result += text.substr(i, sequence.length);
    } else {
      for (size_t n = 0; n < sequence.length; ++n) result += kReplacement;
    }
    i += sequence.length;
  }
  return result;
}

size_t CompleteUtf8Prefix(std::string_view text) {
  // A sequence has at most 4 bytes, so an unfinished one starts in the last 3.
  const size_t window = std::min<size_t>(text.size(), 3);
  for (size_t at = text.size() - window; at < text.size(); ++at) {
    if (SequenceAt(text, at).kind == Sequence::kTruncated) return at;
  }
  return text.size();
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string_view::npos; begin = end + 1) {
    parts.push_back(text.substr(begin, end - begin));
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::string Join(std::span<const std::string> parts, std::string_view separator) {
  std::string result;
  for (const std::string& part : parts) {
    if (&part != parts.data()) result += separator;
    result += part;
  }
  return result;
}

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  return Scaled(bytes, kUnits);
}

std::string HumanCount(uint64_t count) {
  constexpr std::array<std::string_view, 5> kUnits = {"", "K", "M", "B", "T"};
  return Scaled(count, kUnits);
}

std::string Printable(std::string_view text, size_t max_length) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const Sequence sequence = SequenceAt(text, i);
    const std::string_view bytes = text.substr(i, sequence.length);
    std::string shown;
    if (sequence.kind == Sequence::kValid && !IsControl(bytes)) {
      shown = bytes;
    } else {
      for (const char byte : bytes) {
        shown += fmt::format("\\x{:02X}", static_cast<unsigned char>(byte));
      }
    }
    if (result.size() + shown.size() > max_length) return result + "...";
    result += shown;
    i += sequence.length;
  }
  return result;
}

std::string_view NearestName(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr size_t kLongestWord = 256;  // a longer one is no typing error
  if (word.size() > kLongestWord) return "";
  std::string_view nearest;
  size_t best = word.size() / 3 + 1;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const size_t distance = EditDistance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace mixtral
