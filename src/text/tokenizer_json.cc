// SPDX-License-Identifier: Apache-2.0
// SentencePiece merges the pair whose piece has the highest score, these files list the pairs in
// the order in which they are merged. So the score of a piece is minus the place of the first pair
// that makes it, which gives the same merges provided that every way to split a piece into two
// others is in the list, and that the pairs of one piece stand together. Both are checked.
#include "text/tokenizer_json.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

namespace mixtral {
namespace {

constexpr size_t kMaxJsonBytes = size_t{256} << 20;
constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581
constexpr float kUnmergedScore = -1e9f;                    // below every place
/// For the check of all splits: the sum over pieces of length times length.
constexpr size_t kMaxSplitWork = size_t{1} << 30;

[[noreturn]] void Refuse(const Json& json, std::string_view expected, std::string_view found) {
  Throw(ErrorCode::kUnsupported, "tokenizer.json {}: expected {}, found {}", json.path(), expected,
        Printable(found));
}

std::string TypeOf(const Json& json) { return json.At("type").AsString(); }

void RequireNothing(const Json& model, std::string_view key) {
  const std::optional<Json> value = model.Find(key);  // null counts as absent
  if (!value || (value->IsString() && value->AsString().empty())) return;
  if (value->IsBool() && !value->AsBool()) return;
  if (value->IsNumber() && value->AsDouble() == 0) return;
  Refuse(*value, "none", value->Dump());
}

/// How text is prepared: what the normaliser and the pre-tokenizer do together.
class Preparation {
 public:
  explicit Preparation(const Json& root) {
    if (const auto normalizer = root.Find("normalizer")) AddNormalizer(*normalizer);
    if (const auto pre_tokenizer = root.Find("pre_tokenizer")) AddPreTokenizer(*pre_tokenizer);
    if (!replaces_spaces_) {
      Refuse(root, "a normalizer or pre_tokenizer that makes spaces U+2581", "none");
    }
  }
  bool prepends() const { return prepends_; }

 private:
  void AddNormalizer(const Json& json) {
    const std::string type = TypeOf(json);
    if (type == "Sequence") {
      const Json list = json.At("normalizers");
      for (size_t i = 0; i < list.Size(); ++i) {
        if (TypeOf(list.At(i)) == "Sequence") Refuse(list.At(i), "no sequence inside one", type);
        AddNormalizer(list.At(i));
      }
    } else if (type == "Prepend") {
      RequireSymbol(json.At("prepend"));
      prepends_ = true;
    } else if (type == "Replace") {
      const std::optional<Json> pattern = json.At("pattern").Find("String");
      if (!pattern || pattern->AsString() != " ") {
        Refuse(json, "a pattern of one space", json.At("pattern").Dump());
      }
      RequireSymbol(json.At("content"));
      replaces_spaces_ = true;
    } else {
      Refuse(json, "a normalizer Prepend or Replace", type);
    }
  }
  void AddPreTokenizer(const Json& json) {
    const std::string type = TypeOf(json);
    if (type != "Metaspace") Refuse(json, "a pre_tokenizer Metaspace", type);
    RequireSymbol(json.At("replacement"));
    // Split at spaces, no piece could hold two of them, but these vocabularies have such pieces.
    const std::optional<Json> split = json.Find("split");
    if (!split || split->AsBool()) Refuse(json, "split: false", "true");
    replaces_spaces_ = true;
    if (const auto scheme = json.Find("prepend_scheme")) {
      const std::string name = scheme->AsString();
      if (name != "first" && name != "always" && name != "never") {
        Refuse(*scheme, "first, always or never", name);
      }
      prepends_ |= name != "never";
    } else {
      const std::optional<Json> add = json.Find("add_prefix_space");
      prepends_ |= !add || add->AsBool();
    }
  }
  static void RequireSymbol(const Json& json) {
    if (json.AsString() != kSpaceSymbol) Refuse(json, "U+2581", json.AsString());
  }

  bool prepends_ = false, replaces_spaces_ = false;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : root_(Json::Parse(text, "tokenizer.json")) {}

  Vocabulary Read() {
    const Json model = root_.At("model");
    const std::optional<Json> type = model.Find("type");
    if (type && type->AsString() != "BPE") Refuse(*type, "BPE", type->AsString());
    for (const char* key :
         {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"}) {
      RequireNothing(model, key);
    }
    const std::optional<Json> fallback = model.Find("byte_fallback");
    if (!fallback || !fallback->AsBool()) Refuse(model, "byte_fallback: true", "false");
    vocabulary_.byte_fallback = true;
    vocabulary_.add_dummy_prefix = Preparation(root_).prepends();

    ReadPieces(model.At("vocab"));
    ReadMerges(model.At("merges"));
    ReadAddedTokens();
    SetUnknown(model);
    CheckSplits();
    vocabulary_.bos_id = FindControl(vocabulary_, "<s>");
    vocabulary_.eos_id = FindControl(vocabulary_, "</s>");
    ValidateVocabulary(&vocabulary_);
    return std::move(vocabulary_);
  }

 private:
  using Place = std::pair<TokenId, TokenId>;
  struct PlaceHash {
    size_t operator()(const Place& pair) const {
      return std::hash<int64_t>()(int64_t{pair.first} << 32 | pair.second);
    }
  };

  void Add(std::string piece, PieceType type) {
    vocabulary_.pieces.push_back(std::move(piece));
    vocabulary_.scores.push_back(type == PieceType::kNormal ? kUnmergedScore : 0);
    vocabulary_.types.push_back(type);
  }

  /// "vocab" is an object of piece: id; its ids are 0, 1, ... in any order.
  void ReadPieces(const Json& vocab) {
    std::vector<std::string> keys = vocab.Keys();
    if (keys.size() > kMaxPieces) {
      Refuse(vocab, fmt::format("at most {} pieces", kMaxPieces), fmt::format("{}", keys.size()));
    }
    std::vector<std::string> pieces(keys.size());
    for (std::string& key : keys) {
      const Json value = vocab.At(key);
      std::string& place = pieces[static_cast<size_t>(value.AsInt(0, std::ssize(pieces) - 1))];
      if (!place.empty() || key.empty()) {
        Throw(ErrorCode::kCorrupt,
              "tokenizer.json {}: expected an id of its own, found that of '{}'", value.path(),
              Printable(place));
      }
      place = std::move(key);
    }
    names_ = std::move(pieces);
    for (const std::string& name : names_) {
      ids_.emplace(name, static_cast<TokenId>(vocabulary_.pieces.size()));
      Add(name, ByteOfPiece(name) >= 0 ? PieceType::kByte : PieceType::kNormal);
    }
  }

  TokenId IdOf(const Json& json, std::string_view piece) const {
    const auto found = ids_.find(piece);
    if (found != ids_.end()) return found->second;
    Throw(ErrorCode::kCorrupt, "tokenizer.json {}: expected a piece of the vocabulary, found '{}'",
          json.path(), Printable(piece));
  }

  /// A merge is "left right" or ["left", "right"].
  void ReadMerges(const Json& merges) {
    TokenId last = -1;
    int n_made = 0;
    for (size_t i = 0; i < merges.Size(); ++i) {
      const Json merge = merges.At(i);
      std::string left, right;
      if (merge.IsArray()) {
        if (merge.Size() != 2) Refuse(merge, "two pieces", fmt::format("{}", merge.Size()));
        left = merge.At(size_t{0}).AsString();
        right = merge.At(size_t{1}).AsString();
      } else {
        left = merge.AsString();
        const size_t space = std::min(left.find(' '), left.size());
        right = left.substr(std::min(space + 1, left.size()));
        left.resize(space);
      }
      const TokenId made = IdOf(merge, left + right);
      pairs_.insert({IdOf(merge, left), IdOf(merge, right)});
      float& score = vocabulary_.scores[static_cast<size_t>(made)];
      if (score == kUnmergedScore) {
        score = static_cast<float>(-++n_made);  // at most kMaxPieces, so exact
      } else if (made != last && !IsSpaces(left + right)) {
        Refuse(merge, "the pairs of a piece next to each other", left + right);
      }
      last = made;
    }
  }

  /// Runs of spaces all have one score in these models, so their pairs are sorted by length.
  static bool IsSpaces(std::string_view piece) {
    while (piece.starts_with(kSpaceSymbol)) piece.remove_prefix(kSpaceSymbol.size());
    return piece.empty();
  }

  bool IsNormal(TokenId id) const {
    return vocabulary_.types[static_cast<size_t>(id)] == PieceType::kNormal;
  }

  void CheckSplits() const {
    size_t work = 0;
    for (const auto& [piece, id] : ids_) {
      if (!IsNormal(id)) continue;
      work += piece.size() * piece.size();
      if (work > kMaxSplitWork || piece.size() > kMaxPieceBytes) {
        Throw(ErrorCode::kUnsupported, "tokenizer.json $.model.vocab: pieces are too long in all");
      }
      for (size_t at = 1; at < piece.size(); ++at) {
        const auto left = ids_.find(piece.substr(0, at)), right = ids_.find(piece.substr(at));
        if (left == ids_.end() || right == ids_.end()) continue;
        if (!IsNormal(left->second) || !IsNormal(right->second)) continue;
        if (pairs_.contains({left->second, right->second})) continue;
        Throw(
            ErrorCode::kUnsupported,
            "tokenizer.json $.model.merges: expected every split of a piece, as files made from a "
            "SentencePiece model have, found no merge of '{}' and '{}'",
            Printable(left->first), Printable(right->first));
      }
    }
  }

  /// Those of the vocabulary get their type, those beyond it are appended.
  void ReadAddedTokens() {
    const std::optional<Json> added = root_.Find("added_tokens");
    if (!added) return;
    for (size_t i = 0; i < added->Size(); ++i) {
      const Json token = added->At(i);
      const bool is_special = token.At("special").AsBool();
      std::string content = token.At("content").AsString();
      if (!is_special) {
        for (const char* key : {"single_word", "lstrip", "rstrip"}) RequireNothing(token, key);
        content = WithSpaceSymbols(content);
      }
      const PieceType type = is_special ? PieceType::kControl : PieceType::kUserDefined;
      const int64_t id = token.At("id").AsInt(0, static_cast<int64_t>(kMaxPieces) - 1);
      const auto n_pieces = std::ssize(vocabulary_.pieces);
      if (id == n_pieces) {
        Add(std::move(content), type);
        continue;
      }
      if (id > n_pieces || vocabulary_.pieces[static_cast<size_t>(id)] != content) {
        Throw(ErrorCode::kCorrupt, "tokenizer.json {}: expected '{}', found id {}", token.path(),
              id > n_pieces ? fmt::format("id {}", n_pieces)
                            : Printable(vocabulary_.pieces[static_cast<size_t>(id)]),
              id);
      }
      vocabulary_.types[static_cast<size_t>(id)] = type;
      vocabulary_.scores[static_cast<size_t>(id)] = 0;
    }
  }

  void SetUnknown(const Json& model) {
    const std::optional<Json> unknown = model.Find("unk_token");
    const TokenId id = unknown ? IdOf(*unknown, unknown->AsString()) : IdOf(model, "<unk>");
    vocabulary_.types[static_cast<size_t>(id)] = PieceType::kUnknown;
    vocabulary_.scores[static_cast<size_t>(id)] = 0;
  }

  Json root_;
  Vocabulary vocabulary_;
  std::vector<std::string> names_;  // of "vocab"; ids_ points into it
  std::unordered_map<std::string_view, TokenId> ids_;
  std::unordered_set<Place, PlaceHash> pairs_;
};

}  // namespace

Vocabulary ParseTokenizerJson(std::string_view json) {
  if (json.size() > kMaxJsonBytes) {
    Throw(ErrorCode::kUnsupported, "tokenizer.json: expected at most {} bytes, found {}",
          kMaxJsonBytes, json.size());
  }
  return Reader(json).Read();
}

}  // namespace mixtral
