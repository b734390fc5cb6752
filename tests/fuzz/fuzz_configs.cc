// SPDX-License-Identifier: Apache-2.0
// The JSON files of model folders. The first byte of an input says which: config.json, params.json,
// a quantization_config, added tokens in either form, or a weight index; the rest is the file.
#include "fuzz/fuzz_support.h"
#include "io/mapped_checkpoint.h"
#include "io/quantization_config.h"
#include "spec/config.h"
#include "text/tokenizer_files.h"

namespace {

/// What was accepted must hold what everything later relies on.
void CheckConfig(const mixtral::ParsedConfig& parsed) {
  mixtral::ModelConfig config = parsed.config;
  if (config.vocab_size == 0) config.vocab_size = 1;  // the loader takes it from the embedding
  if (!mixtral::fuzz::Accepts([&] { config.Validate(); })) std::abort();
  if (config.TotalParameters() < config.ActiveParameters() || config.ActiveParameters() <= 0)
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = mixtral::fuzz::Text(data + 1, size - 1);
  mixtral::fuzz::Accepts([&] {
    switch (data[0]) {
      case 'c':
        return CheckConfig(
            mixtral::ConfigFromHuggingFace(mixtral::Json::Parse(text, "config.json")));
      case 'p':
        return CheckConfig(mixtral::ConfigFromMistral(mixtral::Json::Parse(text, "params.json")));
      case 'q':
        mixtral::ParseQuantizationConfig(mixtral::Json::Parse(text, "config.json"));
        return;
      case 'd':
        mixtral::AddedTokensOfConfig(text);
        return;
      case 'm':
        mixtral::AddedTokensOfMap(text);
        return;
      default:
        mixtral::ParseWeightIndex(text, "index.json");
    }
  });
  return 0;
}
