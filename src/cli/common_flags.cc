// SPDX-License-Identifier: Apache-2.0
// The shared flags. Ranges live here, so that the same flag is the same everywhere.
#include "cli/common_flags.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/log.h"
#include "cli/progress.h"
#include "cli/routing_file.h"

namespace mixtral::cli {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();
constexpr std::string_view kLogLevels[] = {"error", "warn", "info", "debug"};  // as enum LogLevel

}  // namespace

void PathFlags::AddTo(CommandLine& line, const std::string& path_help) {
  line.Required("PATH", &path, path_help);
  AddLogLevelTo(line);
}

void PathFlags::AddLogLevelTo(CommandLine& line) {
  line.Choice("--log-level", &log_level, {std::begin(kLogLevels), std::end(kLogLevels)},
              "What the library says on standard error (default warn)");
}

void PathFlags::Apply() const {
  const auto it = std::find(std::begin(kLogLevels), std::end(kLogLevels), log_level);
  SetLogLevel(static_cast<LogLevel>(it - std::begin(kLogLevels)));
}

void ComputeFlags::AddTo(CommandLine& line) {
  is_quiet = line.quiet();
  line.Group("Computing");
  line.Int("-t,--threads", &threads, {1, 1024}, "Threads (default: the CPUs of this process)");
  line.Choice("--compute", &compute, {"fast", "exact"},
              "exact: f32 activations everywhere, to compare engines (default fast)");
  line.Choice("--kv-type", &kv_type, {"f16", "f32"},
              "Type of the key/value cache (default f16; f32 with --compute exact)");
  line.Flag("--mlock", &lock, "Lock the weights in memory, so that they are never swapped out");
  line.Flag("--no-mmap", &no_map, "Read the weights into memory at once, and do not map the files");
}

OpenOptions ComputeFlags::ToOpenOptions() const {
  OpenOptions options;
  if (no_map) options.memory = WeightMemory::kRead;
  if (lock) options.lock = LockMemory::kYes;
  if (is_quiet != nullptr && *is_quiet) return options;
  options.on_progress = [progress = std::make_shared<Progress>("reading the weights", "B")](
                            uint64_t done, uint64_t total) {
    progress->Update(static_cast<int64_t>(done), static_cast<int64_t>(total));
    if (done >= total) progress->Clear();
  };
  return options;
}

EngineOptions ComputeFlags::ToEngineOptions() const {
  return {.threads = threads,
          .compute = compute == "exact" ? ComputeMode::kExact : ComputeMode::kFast,
          .open = ToOpenOptions()};
}

DType ComputeFlags::KvType() const {
  if (kv_type.empty()) return compute == "exact" ? DType::kF32 : DType::kF16;
  return kv_type == "f32" ? DType::kF32 : DType::kF16;
}

void GenerateFlags::AddTo(CommandLine& line, const std::string& max_tokens_help) {
  line.Group("Generating");
  line.Int("-n,--max-tokens", &max_tokens, {0, kMaxInt}, max_tokens_help);
  line.Int("--ctx", &context, {1, kMaxInt},
           "Positions of the context (default: the model's, at most 4096)");
  line.TextList("--stop", &stop, "TEXT", "End before this text; may be given several times");
  line.Flag("--ignore-eos", &ignore_eos, "Go on after the end-of-sequence token");
  line.Int("--experts-per-token", &experts_per_token, {1, 256},
           "Experts per token (default: the model's)");
  line.TextList("--force-expert", &forced_, "E",
                "Every token goes to expert E in every layer; may be given several times");
  line.TextList("--ban-expert", &banned_, "E",
                "No token goes to expert E in any layer; may be given several times");
  AddRoutingFile(line, &routing);
  sampling.AddTo(line);
}

void GenerateFlags::CheckAndChooseSeed() {
  for (const std::string& text : stop)
    if (text.empty()) ThrowUsage("--stop: expected a text, found an empty one");
  sampling.CheckAndChooseSeed();
}

SessionOptions GenerateFlags::ToSessionOptions(const Engine& engine, DType kv_type) const {
  if (context > engine.config().max_context)
    ThrowUsage("--ctx: expected an integer in 1..{} (the model's context), found '{}'",
               engine.config().max_context, context);
  return {.context = context, .kv_dtype = kv_type};
}

GenerateOptions GenerateFlags::ToOptions() const {
  GenerateOptions options;
  options.sampler = sampling.config;
  options.max_tokens = max_tokens;
  options.stop = stop;
  options.ignore_eos = ignore_eos;
  options.policy.k = experts_per_token;
  options.policy.force = ParseExperts(forced_, "--force-expert");
  options.policy.ban = ParseExperts(banned_, "--ban-expert");
  return options;
}

std::vector<int> ParseExperts(const std::vector<std::string>& words, std::string_view flag) {
  std::vector<int> experts;
  for (const std::string& word : words)
    experts.push_back(static_cast<int>(ParseInt(word, {0, kMaxInt}, flag)));
  return experts;
}

std::vector<TokenId> ParseTokenIds(std::string_view text, std::string_view what) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find_first_of(", \t\n", i), text.size());
    if (end > i)
      ids.push_back(static_cast<TokenId>(ParseInt(text.substr(i, end - i), {0, kMaxInt}, what)));
    i = end + 1;
  }
  if (ids.empty()) ThrowUsage("{}: expected token ids such as '1,17,30', found none", what);
  return ids;
}

}  // namespace mixtral::cli
