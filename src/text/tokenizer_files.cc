// SPDX-License-Identifier: Apache-2.0
// Which of a folder's files make its tokenizer (tokenizer_files.h).
#include "text/tokenizer_files.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "text/vocabulary.h"

namespace mixtral {
namespace {

constexpr auto kMaxId = static_cast<int64_t>(kMaxPieces) - 1;

std::vector<AddedToken> Ascending(std::vector<AddedToken> tokens) {
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

/// Ids are the keys here: "32000".
TokenId IdOfKey(const std::string& key) {
  int64_t id = -1;
  const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (problem != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxId)
    Throw(ErrorCode::kCorrupt, "$.added_tokens_decoder: expected ids of 0..{} as keys, found '{}'",
          kMaxId, Printable(key));
  return static_cast<TokenId>(id);
}

std::string PathOf(const std::string& folder, std::string_view name) {
  return fmt::format("{}{}{}", folder, folder.ends_with('/') ? "" : "/", name);
}

std::vector<AddedToken> ReadAdded(const std::string& folder, const ReadSideFile& read) {
  constexpr std::string_view kConfig = "tokenizer_config.json", kMap = "added_tokens.json";
  if (const auto text = read(kConfig)) {
    auto tokens = WithContext(PathOf(folder, kConfig), [&] { return AddedTokensOfConfig(*text); });
    if (!tokens.empty()) return tokens;
  }
  if (const auto text = read(kMap))
    return WithContext(PathOf(folder, kMap), [&] { return AddedTokensOfMap(*text); });
  return {};
}

}  // namespace

std::vector<AddedToken> AddedTokensOfConfig(std::string_view tokenizer_config) {
  std::vector<AddedToken> tokens;
  const Json root = Json::Parse(tokenizer_config, "tokenizer_config.json");
  const std::optional<Json> decoder = root.Find("added_tokens_decoder");
  if (!decoder) return tokens;
  for (const std::string& key : decoder->Keys()) {
    const Json token = decoder->At(key);
    const std::optional<Json> special = token.Find("special");
    tokens.push_back({IdOfKey(key), token.At("content").AsString(), !special || special->AsBool()});
  }
  return Ascending(std::move(tokens));
}

std::vector<AddedToken> AddedTokensOfMap(std::string_view added_tokens) {
  std::vector<AddedToken> tokens;
  const Json root = Json::Parse(added_tokens, "added_tokens.json");
  for (const std::string& content : root.Keys())
    tokens.push_back({static_cast<TokenId>(root.At(content).AsInt(0, kMaxId)), content, true});
  return Ascending(std::move(tokens));
}

std::unique_ptr<Tokenizer> TokenizerOfFolder(const std::string& folder, const ReadSideFile& read) {
  if (const auto bytes = read("tokenizer.model")) {
    const std::vector<AddedToken> added = ReadAdded(folder, read);
    return WithContext(PathOf(folder, "tokenizer.model"), [&] {
      return std::make_unique<Tokenizer>(Tokenizer::FromSentencePiece(*bytes, added));
    });
  }
  const auto json = read("tokenizer.json");
  if (!json) return nullptr;
  return WithContext(PathOf(folder, "tokenizer.json"), [&] {
    return std::make_unique<Tokenizer>(Tokenizer::FromTokenizerJson(*json));
  });
}

Tokenizer TokenizerOfBytes(std::string_view bytes) {
  // '{' is no field that a tokenizer.model can begin with.
  return bytes.starts_with('{') ? Tokenizer::FromTokenizerJson(bytes)
                                : Tokenizer::FromSentencePiece(bytes);
}

}  // namespace mixtral
