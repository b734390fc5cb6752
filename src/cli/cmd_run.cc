// SPDX-License-Identifier: Apache-2.0
// mixtral run: a prompt from the command line, a file or standard input -> its continuation on
// standard output, as it is made; figures on standard error.
#include <algorithm>

#include "base/strings.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/routing_file.h"

namespace mixtral::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kExamples =
    "  mixtral run model.gguf -p 'The capital of France is' -n 20\n"
    "  mixtral run mixtral-8x7b/ -f prompt.txt --temperature 0 > answer.txt\n"
    "  echo 'def main():' | mixtral run model.gguf --seed 7 --stop 'def '\n"
    "  mixtral run model.gguf --token-ids 1,17,30,5 --temperature 0 -n 8";

struct RunFlags {
  PathFlags path;
  ComputeFlags compute;
  GenerateFlags generate;
  std::optional<std::string> prompt, file, token_ids;
  bool json = false, quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("run", "Continue a text. The prompt is encoded as it is, after one BOS.",
                     kExamples);
    path.AddTo(line, "A GGUF file, or a folder with safetensors");
    line.Text("-p,--prompt", &prompt, "TEXT", "The text to continue; may be empty");
    line.Text("-f,--file", &file, "FILE", "Read it from a file, as it is ('-': standard input)");
    line.Text("--token-ids", &token_ids, "IDS",
              "A prompt of ids such as 1,17,30 (no BOS is added); prints ids, too");
    line.Flag("--json", &json, "Print one JSON object at the end instead of the text");
    line.Flag("-q,--quiet", &quiet, "No notes and figures on standard error");
    generate.max_tokens = 512;
    generate.AddTo(line, "Tokens to generate at most (default 512)");
    compute.AddTo(line);
    if (!line.Parse(arguments)) return false;
    const int given = prompt.has_value() + file.has_value() + token_ids.has_value();
    if (given > 1)
      ThrowUsage("run: expected one of --prompt, --file and --token-ids, found {}", given);
    if (given == 0 && StdinIsTerminal())
      ThrowUsage("run: no prompt: expected -p TEXT, -f FILE, or text on standard input");
    generate.CheckAndChooseSeed();
    return true;
  }
};

/// What the flags ask to continue, read before the model is opened.
std::string ReadPrompt(const RunFlags& flags) {
  if (flags.prompt) return *flags.prompt;
  return ReadInput(flags.file.value_or("-"));
}

std::vector<TokenId> EncodePrompt(const std::string& text, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids = tokenizer.Encode(text, AddBos::kYes);
  if (ids.empty())
    ThrowUsage(
        "run: expected a text (the vocabulary has no BOS to begin from), found an empty one");
  return ids;
}

struct Timing {
  double load_seconds;
  int64_t seed;
};

void PrintSummary(const GenerateResult& result, const Timing& timing) {
  const auto prefill = static_cast<double>(result.prefill_tokens);
  const auto steps = static_cast<double>(result.decode_steps);
  Note("load      {:.3f} s", timing.load_seconds);
  Note("prompt    {} tokens in {:.3f} s, {:.1f} tokens/s", result.prompt_tokens,
       result.prefill_seconds, PerSecond(prefill, result.prefill_seconds));
  Note("generate  {} tokens in {:.3f} s, {:.1f} tokens/s, {:.2f} GB/s", result.tokens.size(),
       result.decode_seconds, PerSecond(steps, result.decode_seconds),
       PerSecond(static_cast<double>(result.decode_bytes), result.decode_seconds) / 1e9);
  Note("end       {}, seed {}", FinishReasonName(result.finish), timing.seed);
}

void PrintJson(const GenerateResult& result, const std::optional<std::string>& text,
               const Timing& timing) {
  Json tokens = Json::Array();
  for (const TokenId id : result.tokens) tokens.Push(id);
  Json timings = Json::Object();
  timings.Set("load_s", timing.load_seconds)
      .Set("prefill_s", result.prefill_seconds)
      .Set("prefill_tokens_per_s",
           PerSecond(static_cast<double>(result.prefill_tokens), result.prefill_seconds))
      .Set("decode_s", result.decode_seconds)
      .Set("decode_steps", result.decode_steps)
      .Set("decode_tokens_per_s",
           PerSecond(static_cast<double>(result.decode_steps), result.decode_seconds))
      .Set("decode_bytes", result.decode_bytes);
  Json object = Json::Object();
  object.Set("text", text ? Json(*text) : Json())
      .Set("tokens", std::move(tokens))
      .Set("prompt_tokens", result.prompt_tokens)
      .Set("finish_reason", FinishReasonName(result.finish))
      .Set("seed", timing.seed)
      .Set("timings", std::move(timings));
  WriteOut(object.Dump() + "\n");
}

}  // namespace

int RunCommand(Arguments arguments) {
  RunFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  const bool by_ids = flags.token_ids.has_value();
  const std::string prompt_text = by_ids ? "" : ReadPrompt(flags);
  std::vector<TokenId> prompt;
  if (by_ids) prompt = ParseTokenIds(*flags.token_ids, "--token-ids");

  const auto start = Clock::now();
  EngineOptions engine_options = flags.compute.ToEngineOptions();
  engine_options.max_experts_per_token = flags.generate.experts_per_token;
  Engine engine(flags.path.path, engine_options);
  if (!by_ids) prompt = EncodePrompt(prompt_text, engine.tokenizer());
  Session session(&engine, flags.generate.ToSessionOptions(engine, flags.compute.KvType()));
  const Timing timing = {Seconds(Clock::now() - start), *flags.generate.sampling.seed};
  if (!flags.quiet) PrintNotices(engine.notices());

  GenerateOptions options = flags.generate.ToOptions();
  if (!by_ids && prompt_text.empty()) options.stream_start = StreamStart::kNewText;
  std::optional<RoutingFile> routing;
  if (flags.generate.routing)
    routing.emplace(*flags.generate.routing, engine, flags.generate.experts_per_token);
  if (routing) options.observer = &*routing;
  std::string text;
  Progress progress("reading the prompt");
  const InterruptScope interrupt;
  const GenerateResult result = session.Generate(
      prompt, options,
      [&](std::string_view piece) {
        text += piece;
        if (!flags.json && !by_ids) WriteOut(piece);
      },
      interrupt.flag(),
      [&](int64_t done, int64_t total) {
        done < total && !flags.quiet ? progress.Update(done, total) : progress.Clear();
      });
  progress.Clear();
  if (routing) {
    routing->EndSequence("run");
    routing->Finish();
  }
  if (flags.json)
    PrintJson(result, engine.has_tokenizer() ? std::optional(text) : std::nullopt, timing);
  else if (by_ids)
    WriteOut(JoinNumbers(result.tokens, ",") + "\n");
  else if (!text.empty() && text.back() != '\n')
    WriteOut("\n");
  if (!flags.quiet) PrintSummary(result, timing);
  if (routing && !flags.quiet)
    Note("routing   {}: {} tokens", *flags.generate.routing, routing->n_tokens());
  return result.finish == FinishReason::kCancelled ? kExitInterrupted : kExitOk;
}

}  // namespace mixtral::cli
