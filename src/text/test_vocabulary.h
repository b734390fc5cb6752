// SPDX-License-Identifier: Apache-2.0
// A vocabulary small enough to tokenize by hand, and readable forms of ids. For the tests of text/
// only, so that a fresh clone tests everything but the real vocabularies.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace mixtral::test {

using Extra = std::vector<std::pair<std::string, PieceType>>;

/// text with every '_' made U+2581, SentencePiece's space.
inline std::string Spaced(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '_' ? std::string("\xE2\x96\x81") : std::string(1, c);
  return out;
}

/// <unk> <s> </s>, 256 bytes (id = byte + 3), merges (id 259 on), single characters, then extra
/// pieces. Among merges the first has the highest score; runs of spaces have the lowest, as in
/// Mistral's vocabulary. 'x' and all that is not ASCII are no pieces.
inline VocabularyLists SmallLists(const Extra& extra = {}) {
  VocabularyLists lists;
  const auto add = [&](std::string piece, float score, PieceType type) {
    lists.tokens.push_back(std::move(piece));
    lists.scores.push_back(score);
    lists.types.push_back(static_cast<int32_t>(type));
  };
  add("<unk>", 0, PieceType::kUnknown);
  add("<s>", 0, PieceType::kControl);
  add("</s>", 0, PieceType::kControl);
  for (int byte = 0; byte < 256; ++byte) {
    add(fmt::format("<0x{:02X}>", byte), 0, PieceType::kByte);
  }
  float score = -1;
  for (const char* piece :
       {"he", "ll", "hell", "hello", "_hello", "_a", "ab", "IN", "ST", "INST"}) {
    add(Spaced(piece), score--, PieceType::kNormal);
  }
  for (const char* piece : {"__", "_"}) add(Spaced(piece), -1e9f, PieceType::kNormal);
  for (const char c : std::string_view("abcdhelo[]/INST.:")) {
    add(std::string(1, c), score--, PieceType::kNormal);
  }
  for (const auto& [piece, type] : extra) add(piece, 0, type);
  return lists;
}

inline Tokenizer SmallTokenizer(const Extra& extra = {}) {
  return Tokenizer::FromVocabulary(SmallLists(extra));
}

/// The pieces of Mistral's formats for tools and chat, in the order of its v3 vocabulary.
inline Extra InstructPieces() {
  Extra extra;
  for (const char* piece : {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]",
                            "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"}) {
    extra.emplace_back(piece, PieceType::kControl);
  }
  return extra;
}

/// The pieces of ids with '|' between and '_' for U+2581.
inline std::string Show(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids) {
    if (!out.empty()) out += '|';
    std::string piece(tokenizer.Piece(id));
    for (size_t at; (at = piece.find("\xE2\x96\x81")) != std::string::npos;) {
      piece.replace(at, 3, "_");
    }
    out += piece;
  }
  return out;
}

/// A tokenizer.json as it is made from a SentencePiece model: every split of a piece into two
/// others is a merge, in the order of scores, of equal ones the longest first.
inline Json MakeTokenizerJson(const VocabularyLists& lists) {
  struct Merge {
    float score;
    std::string left, right;
  };
  const auto type = [&](size_t id) { return static_cast<PieceType>(lists.types[id]); };
  Json vocab = Json::Object(), added = Json::Array(), pairs = Json::Array();
  std::unordered_set<std::string> normal;
  for (size_t id = 0; id < lists.tokens.size(); ++id) {
    vocab.Set(lists.tokens[id], static_cast<int64_t>(id));
    if (type(id) == PieceType::kNormal) normal.insert(lists.tokens[id]);
    if (type(id) == PieceType::kNormal || type(id) == PieceType::kByte) continue;
    added.Push(Json::Object()
                   .Set("id", static_cast<int64_t>(id))
                   .Set("content", lists.tokens[id])
                   .Set("special", type(id) != PieceType::kUserDefined));
  }
  std::vector<Merge> merges;
  for (size_t id = 0; id < lists.tokens.size(); ++id) {
    const std::string& piece = lists.tokens[id];
    if (type(id) != PieceType::kNormal) continue;
    for (size_t at = 1; at < piece.size(); ++at) {
      std::string left = piece.substr(0, at), right = piece.substr(at);
      if (!normal.contains(left) || !normal.contains(right)) continue;
      merges.push_back({lists.scores[id], std::move(left), std::move(right)});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::make_tuple(a.score, a.left.size(), a.right.size()) >
           std::make_tuple(b.score, b.left.size(), b.right.size());
  });
  for (const Merge& merge : merges) pairs.Push(merge.left + " " + merge.right);
  const Json replace = Json::Object()
                           .Set("type", "Replace")
                           .Set("pattern", Json::Object().Set("String", " "))
                           .Set("content", Spaced("_"));
  const Json prepend = Json::Object().Set("type", "Prepend").Set("prepend", Spaced("_"));
  return Json::Object()
      .Set("version", "1.0")
      .Set("added_tokens", added)
      .Set("normalizer", Json::Object()
                             .Set("type", "Sequence")
                             .Set("normalizers", Json::Array().Push(prepend).Push(replace)))
      .Set("pre_tokenizer", Json())
      .Set("model", Json::Object()
                        .Set("type", "BPE")
                        .Set("dropout", Json())
                        .Set("unk_token", "<unk>")
                        .Set("fuse_unk", true)
                        .Set("byte_fallback", true)
                        .Set("vocab", vocab)
                        .Set("merges", pairs));
}

/// The message of the Error that fn throws, after "code: "; "" when it throws none.
template <class Fn>
std::string ErrorOf(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return fmt::format("{}: {}", ErrorCodeName(error.code()), error.what());
  }
  return "";
}

/// A file of the shared fixtures, or "" when they are not there.
inline std::string SharedFile(std::string_view path) {
  const char* root = std::getenv("MIXTRAL_SHARED");
  std::string file = fmt::format("{}/{}", root != nullptr ? root : "../shared", path);
  return std::filesystem::exists(file) ? file : "";
}

}  // namespace mixtral::test
