// SPDX-License-Identifier: Apache-2.0
// One function per command; flags are few, so they are read by hand.
#include "train/commands.h"

#include <malloc.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <new>
#include <span>

#include "base/error.h"
#include "base/strings.h"
#include "train/blas_threads.h"
#include "train/layer_bench.h"
#include "train/probe.h"
#include "train/trainer.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

constexpr int kInterrupted = 130;

constexpr const char* kUsage =
    "mixtral-train: train Mixtral models on token shards (docs/training.md)\n\n"
    "  mixtral-train train|sft|dpo [CONFIG.yaml] [--NAME VALUE ...]\n"
    "      pretraining, fine-tuning on chats, preference optimisation; goes on where it stopped\n"
    "  mixtral-train probe CHECKPOINT --golden FILE.json -o OUT.safetensors\n"
    "      losses, gradients and updated weights on given batches, to compare trainers\n"
    "  mixtral-train bench [--dim N] [--ffn N] [--experts N] [--top-k N] [--tokens N]\n"
    "      the dropless layer against a loop over experts\n\n"
    "Settings of train, sft and dpo, with their defaults:\n";

class Usage : public Error {
 public:
  explicit Usage(const std::string& message) : Error(ErrorCode::kInvalidArgument, message) {}
};

int ProbeCommand(std::span<const std::string> arguments) {
  std::string checkpoint, golden, out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    std::string* value = word == "--golden" ? &golden : word == "-o" ? &out : nullptr;
    if (value != nullptr) {
      if (++i == arguments.size()) throw Usage(word + ": expected a file, found nothing");
      *value = arguments[i];
    } else if (word.starts_with("-")) {
      throw Usage("unknown flag " + Printable(word));
    } else if (checkpoint.empty()) {
      checkpoint = word;
    } else {
      throw Usage("expected one checkpoint, found '" + Printable(word) + "' too");
    }
  }
  if (checkpoint.empty() || golden.empty() || out.empty())
    throw Usage("expected CHECKPOINT --golden FILE.json -o OUT.safetensors");
  WriteTensors(out, Probe(checkpoint, golden));
  return 0;
}

int TrainCommand(TaskKind task, std::span<const std::string> arguments) {
  if (!arguments.empty() && arguments[0] == "--help") {
    std::fputs(
        ("Settings, as 'name: value' in CONFIG.yaml or --name value:\n" + ConfigHelp()).c_str(),
        stdout);
    return 0;
  }
  TrainConfig config;
  try {
    config = ReadTrainConfig(task, arguments);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalidArgument) throw Usage(error.what());
    throw;
  }
  return Train(config) == TrainOutcome::kDone ? 0 : kInterrupted;
}

int BenchCommand(std::span<const std::string> arguments) {
  BenchShape shape;
  for (size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& flag = arguments[i];
    int64_t* value = flag == "--dim"       ? &shape.dim
                     : flag == "--ffn"     ? &shape.ffn_dim
                     : flag == "--experts" ? &shape.n_experts
                     : flag == "--top-k"   ? &shape.top_k
                     : flag == "--tokens"  ? &shape.n_tokens
                                           : nullptr;
    if (value == nullptr) throw Usage("unknown flag " + Printable(flag));
    if (i + 1 == arguments.size()) throw Usage(flag + ": expected a number, found nothing");
    const std::string& text = arguments[i + 1];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    if (error != std::errc() || end != text.data() + text.size() || *value < 1 || *value > 1 << 24)
      throw Usage(flag + ": expected a number from 1 to 16777216, found '" + Printable(text) + "'");
  }
  if (shape.top_k > shape.n_experts) throw Usage("--top-k: expected at most --experts");
  std::fputs(BenchLayer(shape).c_str(), stdout);
  return 0;
}

int RunCommand(std::span<const std::string> arguments) {
  if (arguments.empty()) throw Usage("expected a command, found nothing (see --help)");
  if (arguments[0] == "--help" || arguments[0] == "help") {
    std::fputs((kUsage + ConfigHelp()).c_str(), stdout);
    return 0;
  }
  if (arguments[0] == "train") return TrainCommand(TaskKind::kPretrain, arguments.subspan(1));
  if (arguments[0] == "sft") return TrainCommand(TaskKind::kSft, arguments.subspan(1));
  if (arguments[0] == "dpo") return TrainCommand(TaskKind::kDpo, arguments.subspan(1));
  if (arguments[0] == "bench") return BenchCommand(arguments.subspan(1));
  if (arguments[0] == "probe") return ProbeCommand(arguments.subspan(1));
  throw Usage("unknown command '" + Printable(arguments[0]) + "' (see --help)");
}

/// Blocks of a step's size go back to the heap, not to the kernel, which would hand out every page
/// of the next step anew: a quarter of a small model's time.
void KeepMemory() {
  constexpr int kOneGib = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kOneGib);
  mallopt(M_TRIM_THRESHOLD, kOneGib);
}

}  // namespace

int RunProgram(const std::vector<std::string>& arguments) {
  int code = 4;
  std::string message;
  KeepMemory();
  if (const int threads = DefaultThreads(); threads > 0) torch::set_num_threads(threads);
  try {
    return RunCommand(arguments);
  } catch (const Usage& error) {
    code = 1;
    message = error.what();
  } catch (const Error& error) {
    code = error.code() == ErrorCode::kInternal ? 4 : 2;
    message = error.what();
  } catch (const std::bad_alloc&) {
    code = 2;
    message = "out of memory";
  } catch (const std::exception& error) {
    // LibTorch's messages go on with a backtrace.
    message = fmt::format("internal error: {}", Split(error.what(), '\n')[0]);
  }
  std::fprintf(stderr, "mixtral-train: %s\n", Printable(message, 2000).c_str());
  return code;
}

}  // namespace mixtral::train
