// SPDX-License-Identifier: Apache-2.0
// An opened model ready to answer: checkpoint, backend, transformer, tokenizer. And Session: one
// conversation's cache and the loop prompt -> tokens. One thread; many sequences at once come with
// the scheduler.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "engine/sampler.h"
#include "io/checkpoint.h"
#include "model/kv_cache.h"
#include "model/plan.h"
#include "model/transformer.h"
#include "text/chat_template.h"
#include "text/token_stream.h"
#include "text/tokenizer.h"

namespace mixtral {

struct EngineOptions {
  int threads = 0;  // 0 = AvailableCpus()
  ComputeMode compute = ComputeMode::kFast;
  int max_batch_tokens = 512;
  int max_logit_rows = 1;         // rows of one step whose logits can be asked for
  int max_experts_per_token = 0;  // 0 = the model's own
  OpenOptions open = {};
};

/// The tokenizer of a checkpoint: text/tokenizer_files.h, or a GGUF file's vocabulary; nullptr when
/// it carries none. Throws Error{kUnsupported} for a
/// GGUF vocabulary that is no SentencePiece one.
std::unique_ptr<Tokenizer> OpenTokenizer(const Checkpoint& checkpoint);
/// Tokens that end a generation: the tokenizer's, and those that the checkpoint's metadata name.
/// tokenizer may be nullptr.
std::vector<TokenId> FindEosIds(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                                int vocab_size);

class Engine {
 public:
  /// Opens, validates and loads. Throws what OpenCheckpoint, LoadModel and Tokenizer throw.
  Engine(const std::string& path, const EngineOptions& options);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelConfig& config() const { return transformer_->config(); }
  const MemoryPlan& plan() const { return plan_; }
  const std::vector<std::string>& notices() const { return notices_; }
  Transformer& transformer() { return *transformer_; }
  const Transformer& transformer() const { return *transformer_; }
  Backend& backend() { return *backend_; }
  bool has_tokenizer() const { return tokenizer_ != nullptr; }
  /// Throws Error{kNotFound} saying what was looked for when the checkpoint carries none.
  const Tokenizer& tokenizer() const;
  const std::vector<TokenId>& eos_ids() const { return eos_ids_; }
  int threads() const { return threads_; }

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<Tokenizer> tokenizer_;
  MemoryPlan plan_;
  std::vector<std::string> notices_;
  std::vector<TokenId> eos_ids_;
  int threads_ = 1;
};

enum class FinishReason : uint8_t { kLength, kEos, kStop, kContextFull, kCancelled };
std::string_view FinishReasonName(
    FinishReason reason);  // "length", "eos", "stop", "context full", "cancelled"

struct GenerateOptions {
  SamplerConfig sampler;
  int max_tokens = -1;  // -1 = until EOS, a stop string or the end of the context
  std::vector<std::string> stop;
  std::vector<TokenId> stop_tokens;  // end a generation beside the model's own EOS ids
  bool ignore_eos = false;           // neither ends it then
  RoutingPolicy policy;
  StreamStart stream_start = StreamStart::kContinuation;
  ForwardObserver* observer = nullptr;  // sees the positions that are computed, not those cached
};

struct GenerateResult {
  FinishReason finish = FinishReason::kLength;
  std::vector<TokenId> tokens;  // generated, without a final EOS
  int64_t prompt_tokens = 0;    // whole prompt
  int64_t prefill_tokens = 0;   // of it, computed now (the rest was in the cache)
  double prefill_seconds = 0, decode_seconds = 0;
  int64_t decode_steps = 0;   // forward steps in decode_seconds
  uint64_t decode_bytes = 0;  // weights and cache read in them, by plan()
};

struct SessionOptions {
  int64_t context = 0;  // positions; 0 = the model's own, at most 4096 unless asked
  DType kv_dtype = DType::kF16;
};

/// asked, or for 0 the model's own, at most 4096. Throws Error{kInvalidArgument} for more than the
/// model has.
int64_t ChooseContext(const ModelConfig& config, int64_t asked);
/// Throws Error{kInvalidArgument} for an empty prompt, an id outside the vocabulary, or more tokens
/// than the context, naming both lengths.
void CheckPrompt(const std::vector<TokenId>& prompt, int vocab_size, int64_t context);

enum class WantLogits : uint8_t { kNo, kYes };

class Session {
 public:
  /// Throws Error{kInvalidArgument} for a context longer than the model's, Error{kOutOfMemory}.
  Session(Engine* engine, const SessionOptions& options);
  /// Prefills what the cache does not hold yet of prompt (the common prefix is kept), then
  /// generates. on_text gets text as it becomes certain; on_prefill progress. `cancel` is looked at
  /// between steps (a prefill step is at most max_batch_tokens). Throws Error{kInvalidArgument} for
  /// an empty prompt, an id outside the vocabulary, or a prompt that does not fit the context,
  /// naming both lengths.
  GenerateResult Generate(const std::vector<TokenId>& prompt, const GenerateOptions& options,
                          const std::function<void(std::string_view)>& on_text,
                          const std::atomic<bool>* cancel = nullptr,
                          const std::function<void(int64_t done, int64_t total)>& on_prefill = {});
  int64_t context() const { return context_; }
  void Reset();  // forgets everything cached

 private:
  void KeepCommonPrefix(const std::vector<TokenId>& prompt, const RoutingPolicy& policy);
  void Step(std::span<const TokenId> tokens, WantLogits want);
  bool Prefill(const std::vector<TokenId>& prompt, const std::atomic<bool>* cancel,
               const std::function<void(int64_t, int64_t)>& on_prefill);
  std::optional<FinishReason> NextLogits(const std::vector<TokenId>& all,
                                         const GenerateOptions& options,
                                         const std::atomic<bool>* cancel, GenerateResult& result);

  Engine* engine_;
  int64_t context_;
  DType kv_dtype_;
  KvCache kv_;
  SeqId seq_;
  std::vector<TokenId> cached_;          // tokens whose keys and values are in the cache
  RoutingPolicy policy_;                 // that cached_ was computed with
  ForwardObserver* observer_ = nullptr;  // of the Generate that runs
  std::vector<float> logits_;            // [V] of the last position computed
  uint64_t step_bytes_;                  // weights that one decode step reads under policy_
  size_t position_bytes_;                // keys and values of one position, all layers
};

}  // namespace mixtral
