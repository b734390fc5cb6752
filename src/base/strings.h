// SPDX-License-Identifier: Apache-2.0
// Small text helpers: UTF-8 validation and boundaries, splitting, sizes for people, the nearest
// name to a mistyped one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral {

bool IsValidUtf8(std::string_view text);  // RFC 3629: no surrogates, no overlong forms, <= U+10FFFF
/// text with every byte that is not part of a valid sequence replaced by U+FFFD (one per byte).
std::string ReplaceInvalidUtf8(std::string_view text);
/// Length of the longest prefix that does not end inside a (so far valid) multi-byte sequence.
size_t CompleteUtf8Prefix(std::string_view text);

std::vector<std::string_view> Split(std::string_view text, char separator);
std::string Join(std::span<const std::string> parts, std::string_view separator);
std::string HumanBytes(uint64_t bytes);  // "93.41 GB", "512 B" (powers of 1000)
std::string HumanCount(uint64_t count);  // "46.70 B", "15.34 M"
/// text made safe to print in one line: control characters and invalid bytes as \xNN, cut to
/// max_length with "...".
std::string Printable(std::string_view text, size_t max_length = 80);
/// The candidate with the smallest edit distance to word, if that is at most a third of its length;
/// else "".
std::string_view NearestName(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace mixtral
