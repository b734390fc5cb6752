// SPDX-License-Identifier: Apache-2.0
// Ranges are those of SamplerConfig::Validate; here they name the flag.
#include "cli/sampling_flags.h"

#include <limits>
#include <random>

#include "base/strings.h"

namespace mixtral::cli {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();

LogitBias ParseLogitBias(const std::string& text) {
  const size_t sign = text.find('=');
  if (sign == std::string::npos)
    ThrowUsage("--logit-bias: expected ID=BIAS such as 1234=-5, found '{}'", Printable(text, 40));
  const std::string bias = text.substr(sign + 1);
  const int64_t id = ParseInt(text.substr(0, sign), {0, kMaxInt}, "--logit-bias: the token's id");
  if (bias == "-inf") return {static_cast<TokenId>(id), -std::numeric_limits<float>::infinity()};
  const double value = ParseReal(bias, {-100, 100}, "--logit-bias: the bias (or -inf)");
  return {static_cast<TokenId>(id), static_cast<float>(value)};
}

}  // namespace

void SamplingFlags::AddTo(CommandLine& line) {
  line.Group("Sampling");
  line.Real("--temperature", &config.temperature, {0, 100},
            "0 takes the likeliest token (default 0.7)");
  line.Int("--top-k", &config.top_k, {0, kMaxInt}, "Only the K likeliest tokens (0 = all)");
  line.Real("--typical-p", &config.typical_p, {1e-6, 1},
            "Only the most typical tokens with this probability together (default 1)");
  line.Real("--top-p", &config.top_p, {1e-6, 1},
            "Only the smallest set with this probability (default 1)");
  line.Real("--min-p", &config.min_p, {0, 1},
            "Only tokens with this part of the likeliest one's probability (default 0)");
  line.Real("--repetition-penalty", &config.repetition_penalty, {0.01, 100},
            "Divides the logits of the last tokens, the prompt's included (default 1)");
  line.Int("--repetition-window", &config.repetition_window, {0, kMaxInt},
           "How many last tokens that are (default 64)");
  line.Real("--frequency-penalty", &config.frequency_penalty, {-2, 2},
            "Subtracted for each time a token was generated (default 0)");
  line.Real("--presence-penalty", &config.presence_penalty, {-2, 2},
            "Subtracted once from tokens that were generated (default 0)");
  line.TextList("--logit-bias", &logit_bias, "ID=BIAS",
                "Added to a token's logit, -100..100, or -inf: never; may be given several times");
  line.Int("--min-tokens", &config.min_tokens, {0, kMaxInt},
           "No end-of-sequence token before so many tokens (default 0)");
  line.Int("--seed", &seed, {0, std::numeric_limits<int64_t>::max()},
           "Same seed, same tokens (default: random, printed at the end)");
}

void SamplingFlags::CheckAndChooseSeed() {
  for (const std::string& text : logit_bias) config.logit_bias.push_back(ParseLogitBias(text));
  if (!seed) seed = std::random_device()();
  config.seed = static_cast<uint64_t>(*seed);
}

}  // namespace mixtral::cli
