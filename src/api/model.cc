// SPDX-License-Identifier: Apache-2.0
// The public Model: opening, text to tokens and back, logits of given tokens.
#include <algorithm>
#include <numeric>
#include <utility>

#include "api/boundary.h"
#include "api/states.h"
#include "base/check.h"

namespace mixtral::api {
namespace {

constexpr int kLogitsChunk = 256;  // rows of one step; V x 4 bytes of logits each
constexpr int kMaxThreads = 1024;

void CheckRange(const char* what, int value, int largest) {
  if (value < 0 || value > largest)
    Throw(mixtral::ErrorCode::kInvalidArgument, "{}: expected 0..{}, found {}", what, largest,
          value);
}

EngineOptions ToInternal(const ModelOptions& options) {
  CheckRange("threads", options.threads, kMaxThreads);
  CheckRange("max_experts_per_token", options.max_experts_per_token, 256);
  if (options.compute != Compute::kFast && options.compute != Compute::kExact)
    Throw(mixtral::ErrorCode::kInvalidArgument, "compute: expected 0 (fast) or 1 (exact), found {}",
          static_cast<int>(options.compute));
  EngineOptions result;
  result.threads = options.threads;
  result.compute = options.compute == Compute::kExact ? ComputeMode::kExact : ComputeMode::kFast;
  result.max_logit_rows = kLogitsChunk;
  result.max_experts_per_token = options.max_experts_per_token;
  return result;
}

ModelInfo Describe(const Engine& engine) {
  const ModelConfig& config = engine.config();
  return {.n_layers = config.n_layers,
          .dim = config.dim,
          .vocab_size = config.vocab_size,
          .n_experts = config.n_experts,
          .experts_per_token = config.experts_per_token,
          .max_context = config.max_context,
          .has_tokenizer = engine.has_tokenizer()};
}

std::unique_ptr<ModelState> Open(const std::string& path, const ModelOptions& options) {
  auto state = std::make_unique<ModelState>(path, ToInternal(options), options.compute);
  state->info = Describe(state->engine);
  return state;
}

void CheckTokens(std::span<const Token> tokens, const ModelInfo& info) {
  if (tokens.empty() || std::ssize(tokens) > info.max_context)
    Throw(mixtral::ErrorCode::kInvalidArgument,
          "tokens: expected 1..{} (the model's context), found {}", info.max_context,
          tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= info.vocab_size)
      Throw(mixtral::ErrorCode::kInvalidArgument, "tokens: expected ids in 0..{}, found {} at {}",
            info.vocab_size - 1, tokens[i], i);
}

/// One forward step after another over all of tokens; on_chunk(first position, logits [n, V]).
template <class OnChunk>
void ForwardAll(ModelState& model, std::span<const Token> tokens,
                const mixtral::RoutingPolicy& policy, ForwardObserver* observer,
                const OnChunk& on_chunk) {
  Engine& engine = model.engine;
  const int64_t vocab = engine.config().vocab_size;
  KvCache kv(engine.config(), {.dtype = model.kv_dtype(), .n_positions = std::ssize(tokens)},
             &engine.backend());
  const SeqId seq = *kv.Open();
  std::vector<int32_t> rows(std::min<size_t>(kLogitsChunk, tokens.size()));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> logits(rows.size() * static_cast<size_t>(vocab));
  const mixtral::RoutingPolicy* policies = &policy;
  for (size_t begin = 0; begin < tokens.size(); begin += rows.size()) {
    const auto chunk = tokens.subspan(begin, std::min(rows.size(), tokens.size() - begin));
    const auto n = static_cast<int>(chunk.size());
    Check(kv.Reserve(seq, n), "the cache was sized for all tokens");
    const SeqRange range = {
        .seq = seq, .first_row = 0, .n_rows = n, .start = static_cast<int64_t>(begin)};
    const Batch batch = {.tokens = chunk,
                         .ranges = {&range, 1},
                         .logit_rows = std::span(rows).first(chunk.size()),
                         .hidden_rows = {},
                         .policies = {&policies, 1}};
    const ForwardOutput output = {.logits = {logits.data(), n, vocab, vocab}, .hidden = {}};
    engine.transformer().Forward(batch, kv, output, observer);
    on_chunk(static_cast<int64_t>(begin), output.logits);
  }
}

}  // namespace

std::string_view Version() { return MIXTRAL_PROJECT_VERSION; }

Error::Error(ErrorCode code, const std::string& message)
    : std::runtime_error(message), code_(code) {}
Error::~Error() = default;

Model::Model(const std::string& path, const ModelOptions& options)
    : state_(Translate([&] { return Open(path, options); })) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

const ModelInfo& Model::info() const { return state_->info; }
const std::vector<std::string>& Model::notices() const { return state_->engine.notices(); }

std::vector<Token> Model::Encode(std::string_view text, Bos bos) const {
  return Translate([&] {
    return state_->engine.tokenizer().Encode(text, bos == Bos::kAdd ? AddBos::kYes : AddBos::kNo);
  });
}

std::string Model::Decode(std::span<const Token> tokens) const {
  return Translate([&] {
    return state_->engine.tokenizer().Decode({tokens.begin(), tokens.end()});
  });
}

std::string Model::Piece(Token token) const {
  return Translate([&] { return std::string(state_->engine.tokenizer().Piece(token)); });
}

void Model::Logits(std::span<const Token> tokens,
                   const std::function<void(std::int64_t, std::span<const float>)>& on_logits,
                   const LogitsOptions& options) {
  Translate([&] {
    const ModelConfig& config = state_->engine.config();
    CheckTokens(tokens, state_->info);
    const mixtral::RoutingPolicy policy = ToInternal(options.policy);
    policy.Validate(config.n_experts, config.experts_per_token,
                    state_->engine.transformer().options().max_k);
    RoutingReporter reporter(options.on_routing);
    ForwardAll(*state_, tokens, policy, reporter.observer(),
               [&](int64_t first, Matrix<const float> logits) {
                 if (!on_logits) return;
                 for (int64_t row = 0; row < logits.rows; ++row)
                   on_logits(first + row, {logits.Row(row), static_cast<size_t>(logits.cols)});
               });
  });
}

}  // namespace mixtral::api
