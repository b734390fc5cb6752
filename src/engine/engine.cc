// SPDX-License-Identifier: Apache-2.0
// Opening a model: checkpoint, backend, weights, tokenizer, and what was remarkable about them.
#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/thread_pool.h"
#include "text/tokenizer_files.h"

namespace mixtral {
namespace {

VocabularyLists ToLists(const GgufVocabulary& vocabulary) {
  return {.tokens = vocabulary.tokens,
          .scores = vocabulary.scores,
          .types = vocabulary.types,
          .bos_id = vocabulary.bos_id,
          .eos_id = vocabulary.eos_id,
          .unknown_id = vocabulary.unknown_id,
          .add_space_prefix = vocabulary.add_space_prefix};
}

void AddUnique(std::vector<TokenId>& ids, TokenId id) {
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

/// eos_token_id is one integer or a list of them; absent is fine.
void AddFromJson(const Json& json, int vocab_size, std::vector<TokenId>& ids) {
  const auto value = json.Find("eos_token_id");
  if (!value) return;
  if (!value->IsArray()) {
    AddUnique(ids, static_cast<TokenId>(value->AsInt(0, vocab_size - 1)));
    return;
  }
  for (size_t i = 0; i < value->Size(); ++i)
    AddUnique(ids, static_cast<TokenId>(value->At(i).AsInt(0, vocab_size - 1)));
}

/// eos_token of a tokenizer_config.json, a piece or an object whose content is one.
void AddFromTokenizerConfig(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                            std::vector<TokenId>& ids) {
  constexpr std::string_view kName = "tokenizer_config.json";
  const auto text = checkpoint.side_file(kName);
  if (!text) return;
  const auto eos = Json::Parse(*text, kName).Find("eos_token");
  if (!eos) return;
  const std::string piece = eos->IsObject() ? eos->At("content").AsString() : eos->AsString();
  if (const auto id = tokenizer.FindSpecial(piece)) AddUnique(ids, *id);
}

/// A tokenizer with more pieces than the model has rows would make ids that the model lacks; one
/// with fewer leaves rows that are never used.
void CompareVocabularies(const Tokenizer& tokenizer, const ModelConfig& config,
                         const std::string& path, std::vector<std::string>& notices) {
  if (tokenizer.vocab_size() > config.vocab_size)
    Throw(ErrorCode::kUnsupported,
          "tokenizer: expected at most {} pieces (the model's vocab_size), found {}, in {}",
          config.vocab_size, tokenizer.vocab_size(), path);
  if (tokenizer.vocab_size() < config.vocab_size)
    notices.push_back(
        fmt::format("the tokenizer has {} pieces, the model {} rows: ids from {} on are never used",
                    tokenizer.vocab_size(), config.vocab_size, tokenizer.vocab_size()));
}

}  // namespace

std::unique_ptr<Tokenizer> OpenTokenizer(const Checkpoint& checkpoint) {
  auto tokenizer = TokenizerOfFolder(checkpoint.path(), [&](std::string_view name) {
    if (name == "tokenizer.model") return checkpoint.sentencepiece_model();
    if (name == "tokenizer.json") return checkpoint.tokenizer_json();
    return checkpoint.side_file(name);
  });
  if (tokenizer) return tokenizer;
  const GgufVocabulary* vocabulary = checkpoint.gguf_vocabulary();
  if (vocabulary == nullptr) return nullptr;
  if (vocabulary->model != "llama")
    Throw(ErrorCode::kUnsupported, "tokenizer.ggml.model: expected 'llama', found '{}', in {}",
          vocabulary->model, checkpoint.path());
  return WithContext(checkpoint.path() + ":tokenizer.ggml.tokens", [&] {
    return std::make_unique<Tokenizer>(Tokenizer::FromVocabulary(ToLists(*vocabulary)));
  });
}

std::vector<TokenId> FindEosIds(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                                int vocab_size) {
  std::vector<TokenId> ids;
  if (tokenizer != nullptr && tokenizer->eos_id() >= 0) AddUnique(ids, tokenizer->eos_id());
  if (tokenizer != nullptr) AddFromTokenizerConfig(checkpoint, *tokenizer, ids);
  if (const auto json = checkpoint.generation_config()) AddFromJson(*json, vocab_size, ids);
  if (checkpoint.kind() == CheckpointKind::kHuggingFace)
    AddFromJson(checkpoint.config(), vocab_size, ids);
  const GgufVocabulary* vocabulary = checkpoint.gguf_vocabulary();
  if (vocabulary != nullptr && vocabulary->eos_id && *vocabulary->eos_id >= 0 &&
      *vocabulary->eos_id < vocab_size)
    AddUnique(ids, *vocabulary->eos_id);
  return ids;
}

Engine::Engine(const std::string& path, const EngineOptions& options)
    : threads_(options.threads > 0 ? options.threads : AvailableCpus()) {
  checkpoint_ = OpenCheckpoint(path, options.open);
  backend_ = MakeCpuBackend(threads_, options.compute);
  LoadedModel model = LoadModel(*checkpoint_, backend_.get());
  notices_ = std::move(model.notices);
  const ModelConfig config = model.config;
  if (options.max_experts_per_token > config.n_experts)
    Throw(ErrorCode::kInvalidArgument,
          "experts per token: expected 1..{} (the model's experts), found {}, in {}",
          config.n_experts, options.max_experts_per_token, path);
  tokenizer_ = OpenTokenizer(*checkpoint_);
  if (tokenizer_) CompareVocabularies(*tokenizer_, config, path, notices_);
  eos_ids_ = FindEosIds(*checkpoint_, tokenizer_.get(), config.vocab_size);
  plan_ = PlanMemory(*checkpoint_, config, DType::kF16);
  transformer_ = std::make_unique<Transformer>(
      std::move(model), backend_.get(),
      TransformerOptions{.max_batch_tokens = options.max_batch_tokens,
                         .max_k = std::max(options.max_experts_per_token, config.experts_per_token),
                         .max_logit_rows = options.max_logit_rows});
}

const Tokenizer& Engine::tokenizer() const {
  if (!tokenizer_)
    Throw(ErrorCode::kNotFound, "tokenizer: expected {}, found none, in {}",
          checkpoint_->kind() == CheckpointKind::kGguf
              ? "the tokenizer.ggml.* keys"
              : "a tokenizer.model or tokenizer.json beside the weights",
          checkpoint_->path());
  return *tokenizer_;
}

}  // namespace mixtral
