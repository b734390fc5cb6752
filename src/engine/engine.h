// SPDX-License-Identifier: Apache-2.0
// An opened model ready to answer: checkpoint, backend, transformer, tokenizer. And Session: one
// conversation's cache and the loop prompt -> tokens. One thread; many sequences at once come with
// the scheduler.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
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
  int max_experts_per_token = 0;  // 0 = the model's own
};

/// The tokenizer of a checkpoint; nullptr when it carries none.
std::unique_ptr<Tokenizer> OpenTokenizer(const Checkpoint& checkpoint);

class Engine {
 public:
  /// Opens, validates and loads. Throws what OpenCheckpoint, LoadModel and Tokenizer throw.
  Engine(const std::string& path, const EngineOptions& options);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelConfig& config() const { return transformer_->config(); }
  const MemoryPlan& plan() const { return plan_; }
  const std::vector<std::string>& notices() const { return notices_; }
  Transformer& transformer() { return *transformer_; }
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
  bool ignore_eos = false;
  RoutingPolicy policy;
  StreamStart stream_start = StreamStart::kContinuation;
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

class Session {
 public:
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
  void Reset();

 private:
  Engine* engine_;
  int64_t context_;
  KvCache kv_;
  SeqId seq_;
  std::vector<TokenId> cached_;  // tokens whose keys and values are in the cache
  std::vector<float> logits_;    // [V]
};

}  // namespace mixtral
