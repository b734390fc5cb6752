// SPDX-License-Identifier: Apache-2.0
// mixtral logits: lists of token ids -> logits of every position, and the routing of every layer,
// as safetensors. It is how two engines are compared.
#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/json.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/logits_run.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "io/safetensors.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  echo '[[1,17,30,5],[1,4]]' > ids.json\n"
    "  mixtral logits model.gguf --tokens ids.json -o out.safetensors --routing --compute exact";

struct LogitsFlags {
  PathFlags path;
  ComputeFlags compute;
  std::optional<std::string> tokens, output;
  bool routing = false, json = false, quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("logits", "Write the logits of every position of given token lists.",
                     kExamples);
    path.AddTo(line, "A GGUF file, or a folder with safetensors");
    line.Text("--tokens", &tokens, "FILE", "JSON: a list of lists of token ids (no BOS is added)");
    line.Text("-o,--output", &output, "FILE",
              "safetensors to write: for prompt i, i.logits [T, V] F32");
    line.Flag("--routing", &routing,
              "Write i.router_logits [L, T, E] F32, i.expert_ids [L, T, k] I32 and "
              "i.expert_weights [L, T, k] F32, heaviest first");
    line.Flag("--json", &json, "Print a summary as one JSON object");
    line.Flag("-q,--quiet", &quiet, "No notes and figures on standard error");
    compute.AddTo(line);
    if (!line.Parse(arguments)) return false;
    if (!tokens || tokens->empty()) ThrowUsage("logits: expected --tokens FILE, found none");
    if (!output || output->empty()) ThrowUsage("logits: expected -o FILE, found none");
    std::error_code ignored;
    const auto status = std::filesystem::status(*output, ignored);
    // The finished file is renamed to its name, which would put it in the place of a device.
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      ThrowUsage("-o/--output: expected the name of a file, found a folder or device: {}", *output);
    return true;
  }
};

using Prompts = std::vector<std::vector<TokenId>>;

Prompts ReadPrompts(const std::string& path) {
  const Json json = Json::Parse(ReadInput(path), path);
  if (!json.IsArray() || json.Size() == 0)
    Throw(ErrorCode::kCorrupt, "prompts: expected a list of lists of token ids, in {}", path);
  Prompts prompts;
  for (size_t i = 0; i < json.Size(); ++i) {
    const std::vector<int64_t> ids = json.At(i).AsIntArray();
    if (ids.empty())
      Throw(ErrorCode::kCorrupt, "prompt {}: expected at least 1 token id, found none, in {}", i,
            path);
    auto& prompt = prompts.emplace_back();
    for (const int64_t id : ids) {
      if (id < 0 || id > std::numeric_limits<TokenId>::max())
        Throw(ErrorCode::kCorrupt, "prompt {}: expected token ids from 0 on, found {}, in {}", i,
              id, path);
      prompt.push_back(static_cast<TokenId>(id));
    }
  }
  return prompts;
}

void CheckPrompts(const Prompts& prompts, const ModelConfig& config, const std::string& path) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    for (const TokenId id : prompts[i])
      if (id >= config.vocab_size)
        Throw(ErrorCode::kCorrupt, "prompt {}: expected token ids in 0..{}, found {}, in {}", i,
              config.vocab_size - 1, id, path);
    if (std::ssize(prompts[i]) > config.max_context)
      Throw(ErrorCode::kUnsupported,
            "prompt {}: expected at most {} tokens (the model's context), found {}, in {}", i,
            config.max_context, prompts[i].size(), path);
  }
}

void DeclareAll(SafetensorsWriter& writer, const Prompts& prompts, const ModelConfig& config,
                bool routing) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const int64_t n = std::ssize(prompts[i]), n_layers = config.n_layers;
    writer.Declare(fmt::format("{}.logits", i), DType::kF32, {n, config.vocab_size});
    if (!routing) continue;
    const int64_t k = config.experts_per_token;
    writer.Declare(fmt::format("{}.router_logits", i), DType::kF32,
                   {n_layers, n, config.n_experts});
    writer.Declare(fmt::format("{}.expert_ids", i), DType::kI32, {n_layers, n, k});
    writer.Declare(fmt::format("{}.expert_weights", i), DType::kF32, {n_layers, n, k});
  }
}

void PrintSummary(const LogitsFlags& flags, size_t n_prompts, int64_t n_tokens, double seconds) {
  if (flags.json)
    WriteOut(Json::Object()
                 .Set("output", *flags.output)
                 .Set("prompts", static_cast<uint64_t>(n_prompts))
                 .Set("tokens", n_tokens)
                 .Set("seconds", seconds)
                 .Dump() +
             "\n");
  if (!flags.quiet)
    Note("{}: {} prompts, {} tokens in {:.3f} s, {:.1f} tokens/s", *flags.output, n_prompts,
         n_tokens, seconds, PerSecond(static_cast<double>(n_tokens), seconds));
}

}  // namespace

int LogitsCommand(Arguments arguments) {
  LogitsFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  const Prompts prompts = ReadPrompts(*flags.tokens);
  EngineOptions options = flags.compute.ToEngineOptions();
  options.max_batch_tokens = options.max_logit_rows = kLogitsChunk;
  Engine engine(flags.path.path, options);
  const ModelConfig& config = engine.config();
  if (!flags.quiet) PrintNotices(engine.notices());
  CheckPrompts(prompts, config, *flags.tokens);
  if (flags.routing && config.n_experts == 0)
    Throw(ErrorCode::kUnsupported,
          "--routing: expected a model with experts, found a dense one, in {}", flags.path.path);

  int64_t total = 0, longest = 1, done = 0;
  for (const auto& prompt : prompts) {
    total += std::ssize(prompt);
    longest = std::max<int64_t>(longest, std::ssize(prompt));
  }
  SafetensorsWriter writer(*flags.output);
  DeclareAll(writer, prompts, config, flags.routing);
  LogitsRun run(&engine, flags.compute.KvType(), longest);
  const InterruptScope interrupt;
  const auto start = std::chrono::steady_clock::now();
  Progress progress("computing");
  const auto on_chunk = [&](int64_t n) {
    done += n;
    if (!flags.quiet) progress.Update(done, total);
    return !interrupt.interrupted();
  };
  for (const auto& prompt : prompts) {
    std::optional<RoutingRecord> record;
    if (flags.routing) record.emplace(config, prompt.size());
    if (!run.Forward(prompt, writer, record ? &*record : nullptr, on_chunk))
      return kExitInterrupted;
    if (record) record->WriteTo(writer);
  }
  writer.Finish();
  progress.Clear();
  PrintSummary(flags, prompts.size(), total, Seconds(std::chrono::steady_clock::now() - start));
  return kExitOk;
}

}  // namespace mixtral::cli
