// SPDX-License-Identifier: Apache-2.0
// mixtral info: what a model is, what it costs, which kernels run it here. Opens the files, but
// reads no weights.
#include "cli/common_flags.h"
#include "cli/model_report.h"
#include "cli/output.h"
#include "io/checkpoint.h"
#include "measure/memory_report.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral info model.gguf\n"
    "  mixtral info mixtral-8x7b/ --tensors\n"
    "  mixtral info model.gguf --json | python3 -m json.tool";

enum class Measuring : uint8_t { kNo, kYes };

Json DescribeMemoryOf(const Checkpoint& checkpoint, Measuring measuring) {
  const ModelConfig config = ReadConfig(checkpoint).config;
  const MemoryLimits limits = ReadMemoryLimits();
  std::optional<ReadSpeed> speed;
  if (measuring == Measuring::kYes) speed = MeasureReadSpeed(limits);
  return DescribeMemory(config, PlanMemory(checkpoint, config, DType::kF16), limits, speed);
}

}  // namespace

int InfoCommand(Arguments arguments) {
  PathFlags path;
  bool json = false, tensors = false, no_measure = false;
  CommandLine line("info", "What a model is, what it costs, and which kernels run it here.",
                   kExamples);
  path.AddTo(line, "A GGUF file, or a folder with safetensors");
  line.Flag("--tensors", &tensors, "List every tensor: name, type, shape, bytes");
  line.Flag("--no-measure", &no_measure,
            "Do not measure how fast this machine reads (0.2 s) to predict the speed of decoding");
  line.Flag("--json", &json, "Print one JSON object");
  if (!line.Parse(arguments)) return kExitOk;
  path.Apply();
  const auto checkpoint = OpenCheckpoint(path.path);
  Json report = DescribeModel(*checkpoint);
  report.Set("memory",
             DescribeMemoryOf(*checkpoint, no_measure ? Measuring::kNo : Measuring::kYes));
  report.Set("kernels", DescribeKernels());
  if (tensors) report.Set("tensors", DescribeTensors(*checkpoint));
  WriteOut(json ? report.Dump() + "\n" : ReportText(report));
  return kExitOk;
}

}  // namespace mixtral::cli
