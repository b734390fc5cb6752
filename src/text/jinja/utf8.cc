// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/utf8.h"

#include <algorithm>
#include <array>

namespace mixtral::jinja {
namespace {

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

/// Of the character that begins / ends the text, at least 1. text isn't empty.
size_t FirstLength(std::string_view text) {
  size_t n = 1;
  if (IsContinuation(text[0])) return 1;
  while (n < text.size() && n < 4 && IsContinuation(text[n])) ++n;
  return n;
}

size_t LastLength(std::string_view text) {
  size_t n = 1;
  while (n < text.size() && n < 4 && IsContinuation(text[text.size() - n])) ++n;
  return IsContinuation(text[text.size() - n]) ? 1 : n;
}

/// What Python's str.isspace() says, as UTF-8.
constexpr std::array<std::string_view, 29> kSpaces = {" ",
                                                      "\t",
                                                      "\n",
                                                      "\v",
                                                      "\f",
                                                      "\r",
                                                      "\x1C",
                                                      "\x1D",
                                                      "\x1E",
                                                      "\x1F",
                                                      "\xC2\x85",
                                                      "\xC2\xA0",
                                                      "\xE1\x9A\x80",
                                                      "\xE2\x80\x80",
                                                      "\xE2\x80\x81",
                                                      "\xE2\x80\x82",
                                                      "\xE2\x80\x83",
                                                      "\xE2\x80\x84",
                                                      "\xE2\x80\x85",
                                                      "\xE2\x80\x86",
                                                      "\xE2\x80\x87",
                                                      "\xE2\x80\x88",
                                                      "\xE2\x80\x89",
                                                      "\xE2\x80\x8A",
                                                      "\xE2\x80\xA8",
                                                      "\xE2\x80\xA9",
                                                      "\xE2\x80\xAF",
                                                      "\xE2\x81\x9F",
                                                      "\xE3\x80\x80"};

bool IsSpace(std::string_view character) {
  return std::find(kSpaces.begin(), kSpaces.end(), character) != kSpaces.end();
}

template <class IsStripped>
std::string_view StripIf(std::string_view text, Side side, IsStripped is_stripped) {
  const auto sides = static_cast<unsigned>(side);
  while ((sides & 1) != 0 && !text.empty()) {
    const size_t n = FirstLength(text);
    if (!is_stripped(text.substr(0, n))) break;
    text.remove_prefix(n);
  }
  while ((sides & 2) != 0 && !text.empty()) {
    const size_t n = LastLength(text);
    if (!is_stripped(text.substr(text.size() - n))) break;
    text.remove_suffix(n);
  }
  return text;
}

}  // namespace

void AppendUtf8(uint32_t code_point, std::string* out) {
  const auto add = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  const auto add_rest = [&](int shift) { add(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) return add(code_point);
  if (code_point < 0x800) {
    add(0xC0 | code_point >> 6);
  } else if (code_point < 0x10000) {
    add(0xE0 | code_point >> 12);
    add_rest(6);
  } else {
    add(0xF0 | (code_point >> 18 & 7));
    add_rest(12);
    add_rest(6);
  }
  add_rest(0);
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    characters.push_back(text.substr(0, FirstLength(text)));
    text.remove_prefix(characters.back().size());
  }
  return characters;
}

size_t CountCharacters(std::string_view text) {
  size_t n = 0;
  for (; !text.empty(); ++n) text.remove_prefix(FirstLength(text));
  return n;
}

std::string_view StripSpace(std::string_view text, Side side) {
  return StripIf(text, side, IsSpace);
}

std::string_view StripCharacters(std::string_view text, std::string_view set, Side side) {
  const std::vector<std::string_view> stripped = Characters(set);
  return StripIf(text, side, [&](std::string_view character) {
    return std::find(stripped.begin(), stripped.end(), character) != stripped.end();
  });
}

std::vector<std::string_view> SplitAtSpace(std::string_view text) {
  std::vector<std::string_view> parts;
  const char* begin = nullptr;
  for (const std::string_view character : Characters(text)) {
    if (!IsSpace(character)) {
      if (begin == nullptr) begin = character.data();
    } else if (begin != nullptr) {
      parts.emplace_back(begin, static_cast<size_t>(character.data() - begin));
      begin = nullptr;
    }
  }
  if (begin != nullptr) {
    parts.emplace_back(begin, static_cast<size_t>(text.data() + text.size() - begin));
  }
  return parts;
}

}  // namespace mixtral::jinja
