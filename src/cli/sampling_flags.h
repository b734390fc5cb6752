// SPDX-License-Identifier: Apache-2.0
// The flags that decide how the next token is chosen, one for each field of SamplerConfig. Part of
// the flags of `run` and `chat`; docs/sampling.md explains them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "engine/sampler.h"

namespace mixtral::cli {

struct SamplingFlags {
  SamplerConfig config;
  std::optional<int64_t> seed;
  std::vector<std::string> logit_bias;  // "ID=BIAS"

  void AddTo(CommandLine& line);
  /// After parsing: completes config, drawing a seed where none was given. Throws UsageError.
  void CheckAndChooseSeed();
};

}  // namespace mixtral::cli
