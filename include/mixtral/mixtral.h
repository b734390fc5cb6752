// SPDX-License-Identifier: Apache-2.0
// The library for C++20: open a model, turn text into tokens, generate, read logits, watch and
// steer the routing. Standard headers only, everything else is hidden behind two handles. For
// programs built with the library's own toolchain; the stable binary interface is mixtral_c.h.
// docs/library.md explains it with programs that run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::api {

struct ModelState;  // the library's own side of the handles
struct SessionState;

#pragma GCC visibility push(default)

using Token = std::int32_t;

std::string_view Version();  // of the library that runs, "0.1.0"

enum class ErrorCode {
  kInvalidArgument = 1,  // a value that the caller gave
  kNotFound,             // a file, a tensor or a key that should be there
  kCorrupt,              // bytes that contradict their own format
  kUnsupported,          // valid, but not something this library can run
  kOutOfMemory,
  kIo,
  kInternal,  // a bug of the library
};

/// The only exception of the library, beside std::bad_alloc and what the caller's own functions
/// throw. what() is one line: "what: expected X, found Y, in FILE".
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message);
  ~Error() override;
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

enum class Compute { kFast, kExact };  // kExact: f32 activations and cache, to compare engines

struct ModelOptions {
  int threads = 0;  // 0 = the CPUs of this process
  Compute compute = Compute::kFast;
  int max_experts_per_token = 0;  // the largest RoutingPolicy::k to come; 0 = the model's own
};

struct ModelInfo {
  int n_layers, dim, vocab_size;     // vocab_size: ids and logits
  int n_experts, experts_per_token;  // 0, 0: a dense model
  std::int64_t max_context;
  bool has_tokenizer;
};

/// Who may be chosen; the default is the model's own routing. Applies to every layer.
struct RoutingPolicy {
  int k = 0;                     // experts per token; 0 = the model's
  std::vector<int> force = {};   // always chosen (at most k); their weights come from their logits
  std::vector<int> ban = {};     // never chosen
  std::vector<float> bias = {};  // one per expert or none: added for the choice, not to the weights
};

/// What one layer's router chose for n_tokens consecutive positions. Valid during the call.
struct RoutingEvent {
  int layer;
  std::int64_t first_position;
  int n_tokens, k;
  std::span<const std::int32_t> expert_ids;  // [n_tokens, k] heaviest first
  std::span<const float> weights;            // [n_tokens, k] each row adds up to 1
};
using RoutingObserver = std::function<void(const RoutingEvent&)>;

/// Added to one token's logit: -100..100, or -infinity (never chosen).
struct LogitBias {
  Token token = -1;
  float bias = 0;
};

/// How the next token is chosen: penalties, bias, temperature, top_k, typical_p, top_p, min_p, in
/// this order; docs/sampling.md explains each. Values out of range are refused by name.
struct Sampling {
  float temperature = 0.7f;         // 0 = the likeliest token
  int top_k = 0;                    // 0 = off
  float top_p = 1.0f;               // 1 = off
  float min_p = 0.0f;               // 0 = off
  float repetition_penalty = 1.0f;  // 1 = off; divides logits of the last 64 tokens
  std::uint64_t seed = 0;           // same seed, same tokens
  float typical_p = 1.0f;           // 1 = off
  float frequency_penalty = 0.0f;   // -2..2; times how often a token was generated, subtracted
  float presence_penalty = 0.0f;    // -2..2; subtracted if a token was generated
  int min_tokens = 0;               // no end-of-sequence token before so many tokens
  std::vector<LogitBias> logit_bias = {};
};

struct GenerateOptions {
  Sampling sampling = {};
  int max_tokens = -1;                 // -1 = until the model ends or the context is full
  std::vector<std::string> stop = {};  // end before one of these texts
  bool ignore_eos = false;
  RoutingPolicy policy = {};
  RoutingObserver on_routing = {};  // sees every position that this call computes, layer by layer
};

enum class Finish { kLength, kEos, kStop, kContextFull, kCancelled };

struct Generation {
  Finish finish = Finish::kLength;
  std::string text;
  std::vector<Token> tokens;  // without a final end-of-sequence token
  std::int64_t prompt_tokens = 0;
  std::int64_t prefill_tokens = 0;  // of them, computed now; the rest was remembered
  double prefill_seconds = 0, decode_seconds = 0;
};

struct LogitsOptions {
  RoutingPolicy policy = {};
  RoutingObserver on_routing = {};
};

enum class Bos { kNo, kAdd };  // whether the begin-of-sequence token goes before a text

/// An opened model. It and its sessions are used by one thread at a time; models are independent.
class Model {
 public:
  /// path: a GGUF file, a Hugging Face folder or a Mistral folder; the content decides.
  explicit Model(const std::string& path, const ModelOptions& options = {});
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const ModelInfo& info() const;
  const std::vector<std::string>& notices() const;  // what was remarkable about the files

  // These three throw Error{kNotFound} when the checkpoint carries no tokenizer.
  std::vector<Token> Encode(std::string_view text, Bos bos = Bos::kAdd) const;
  std::string Decode(std::span<const Token> tokens) const;
  std::string Piece(Token token) const;  // as stored: "\u2581the", "<0x0A>"

  /// Calls on_logits(position, logits [vocab_size]) for every position of tokens, in order.
  void Logits(std::span<const Token> tokens,
              const std::function<void(std::int64_t, std::span<const float>)>& on_logits,
              const LogitsOptions& options = {});

 private:
  friend class Session;
  std::unique_ptr<ModelState> state_;
};

struct SessionOptions {
  std::int64_t context = 0;  // positions; 0 = the model's own, at most 4096
};

/// One text that grows: remembers what was computed, so that a prompt which begins like the last
/// one costs only its new part. The model outlives it and may be moved meanwhile.
class Session {
 public:
  explicit Session(Model& model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Continues prompt. on_text gets text as soon as it is certain, in whole characters.
  Generation Generate(std::span<const Token> prompt, const GenerateOptions& options = {},
                      const std::function<void(std::string_view)>& on_text = {});
  /// Ends the Generate that runs, before its next step; the next one when none runs. From any
  /// thread, a callback or a signal handler.
  void Cancel() noexcept;
  void Reset();  // forgets the text
  std::int64_t context() const;

 private:
  std::unique_ptr<SessionState> state_;
};

#pragma GCC visibility pop

}  // namespace mixtral::api
