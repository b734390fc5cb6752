// SPDX-License-Identifier: Apache-2.0
// Characters of UTF-8 text for the evaluator: counting, slicing and stripping by code points, as
// Python does. Any byte sequence is safe: a byte that begins no sequence counts as a character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::jinja {

void AppendUtf8(uint32_t code_point, std::string* out);
std::vector<std::string_view> Characters(std::string_view text);
size_t CountCharacters(std::string_view text);

enum class Side : uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };
/// Without the white space of Unicode (str.strip()) at the side.
std::string_view StripSpace(std::string_view text, Side side);
/// Without the characters of the set (str.strip(set)) at the side.
std::string_view StripCharacters(std::string_view text, std::string_view set, Side side);
/// str.split(): the runs between white space.
std::vector<std::string_view> SplitAtSpace(std::string_view text);

}  // namespace mixtral::jinja
