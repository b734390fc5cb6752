// SPDX-License-Identifier: Apache-2.0
// Numbers are checked here, once, so that the scheduler thread can trust them.
#include "engine/service_options.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "base/error.h"

namespace mixtral {
namespace {

constexpr int kScoredRows = 64;  // of a prompt in one step, beside one row of every sequence
constexpr int64_t kPage = 64;    // positions; KvCacheOptions' default

void CheckAtLeast(const char* field, int64_t value, int64_t min) {
  if (value < min)
    Throw(ErrorCode::kInvalidArgument, "{}: expected {} or more, found {}", field, min, value);
}

int64_t WholePages(int64_t positions) { return (positions + kPage - 1) / kPage * kPage; }

/// Positions of the cache within the budget, in whole pages. A cache asked for by positions alone
/// may take more than a quarter of what is free.
int64_t ChoosePositions(const ServiceOptions& options, size_t position_bytes, uint64_t free_bytes) {
  const int64_t context = WholePages(options.context);
  const uint64_t budget = options.cache_bytes > 0 ? options.cache_bytes : free_bytes / 4;
  int64_t positions = static_cast<int64_t>(budget / position_bytes / kPage) * kPage;
  if (options.cache_positions == 0)
    positions = std::min(positions, context * options.max_running);
  else if (options.cache_bytes == 0)
    positions = WholePages(options.cache_positions);
  else
    positions = std::min(positions, WholePages(options.cache_positions));
  if (positions < context)
    Throw(ErrorCode::kOutOfMemory,
          "cache: expected room for a context of {} positions ({} bytes), found room for {} ({} "
          "bytes)",
          options.context, static_cast<uint64_t>(context) * position_bytes, positions,
          static_cast<uint64_t>(positions) * position_bytes);
  return positions;
}

}  // namespace

EngineOptions EngineOptionsFor(const ServiceOptions& options, EngineOptions engine) {
  engine.max_batch_tokens = options.step_tokens;
  engine.max_logit_rows = std::min(options.step_tokens, options.max_running + kScoredRows);
  return engine;
}

uint64_t FreeMemory() {
  std::ifstream file("/proc/meminfo");
  std::string field;
  while (file >> field) {
    uint64_t kilobytes = 0;
    if (field == "MemAvailable:" && file >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

ServiceOptions FillOptions(const Engine& engine, ServiceOptions options, uint64_t free_bytes) {
  const TransformerOptions& sizes = engine.transformer().options();
  CheckAtLeast("context", options.context, 0);
  CheckAtLeast("cache_positions", options.cache_positions, 0);
  CheckAtLeast("max_running", options.max_running, 1);
  CheckAtLeast("max_queued", options.max_queued, 1);
  CheckAtLeast("max_queued_tokens", options.max_queued_tokens, 1);
  if (!(options.queue_seconds >= 0))
    Throw(ErrorCode::kInvalidArgument, "queue_seconds: expected 0 or more, found {}",
          options.queue_seconds);
  CheckAtLeast("step_tokens", options.step_tokens, 1);
  CheckAtLeast("prefill_tokens", options.prefill_tokens, 1);
  options.context = ChooseContext(engine.config(), options.context);
  options.step_tokens = std::min(options.step_tokens, sizes.max_batch_tokens);
  options.max_running = std::min({options.max_running, options.step_tokens, sizes.max_logit_rows});
  const size_t position_bytes = KvCache::BytesPerPosition(engine.config(), options.kv_dtype);
  options.cache_positions = ChoosePositions(options, position_bytes, free_bytes);
  options.cache_bytes = static_cast<size_t>(options.cache_positions) * position_bytes;
  return options;
}

void CheckRequest(const Engine& engine, const ServiceOptions& options,
                  const ServiceRequest& request) {
  const ModelConfig& config = engine.config();
  CheckPrompt(request.prompt, config.vocab_size, options.context);
  request.sampler.Validate();
  const int n_choosable =
      engine.has_tokenizer() ? engine.tokenizer().vocab_size() : config.vocab_size;
  for (const LogitBias& bias : request.sampler.logit_bias)
    if (bias.id < 0 || bias.id >= n_choosable)
      Throw(ErrorCode::kInvalidArgument, "logit_bias: expected token ids in 0..{}, found {}",
            n_choosable - 1, bias.id);
  request.policy.Validate(config.n_experts, config.experts_per_token,
                          engine.transformer().options().max_k);
  if (request.n < 1 || request.n > kMaxChoices)
    Throw(ErrorCode::kInvalidArgument, "n: expected 1..{}, found {}", kMaxChoices, request.n);
  CheckAtLeast("max_tokens", request.max_tokens, -1);
  CheckAtLeast("min_tokens", request.min_tokens, 0);
  if (request.top_logprobs < -1 || request.top_logprobs > config.vocab_size)
    Throw(ErrorCode::kInvalidArgument, "top_logprobs: expected -1..{}, found {}", config.vocab_size,
          request.top_logprobs);
  if (request.logprobs_from < 1 || request.logprobs_from > std::ssize(request.prompt))
    Throw(ErrorCode::kInvalidArgument, "logprobs_from: expected 1..{}, found {}",
          request.prompt.size(), request.logprobs_from);
  if (request.target < -1 || request.target >= config.vocab_size)
    Throw(ErrorCode::kInvalidArgument, "target: expected -1..{}, found {}", config.vocab_size - 1,
          request.target);
  if (request.return_routing && config.n_experts == 0)
    Throw(ErrorCode::kInvalidArgument,
          "return_routing: expected a model with experts, found a dense one");
  if (!request.stop.empty()) engine.tokenizer();  // throws: stop strings need one
}

}  // namespace mixtral
