// SPDX-License-Identifier: Apache-2.0
// What the terminal behind a standard stream can do: control codes, colours, columns. Nothing is
// coloured and no line renews itself anywhere else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mixtral::cli {

enum class Stream : uint8_t { kOut = 1, kError = 2 };  // the descriptor

/// A terminal that moves its cursor on request: not a pipe or file, and TERM is set and not "dumb".
bool TakesControlCodes(Stream stream);
/// The same, and the environment variable NO_COLOR is not set (or empty).
bool TakesColour(Stream stream);
/// Columns of the terminal as it is now; 80 where nobody knows.
int Columns(Stream stream);

enum class Colour : uint8_t { kBold = 1, kRed = 31, kYellow = 33 };  // SGR codes
/// text in bold and colour where the stream takes it, else text.
std::string Coloured(Stream stream, Colour colour, std::string_view text);

}  // namespace mixtral::cli
