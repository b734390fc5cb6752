// SPDX-License-Identifier: Apache-2.0
// mixtral info: what a model is, what it costs, which kernels run it here. Opens the files, but
// reads no weights.
#include "cli/common_flags.h"
#include "cli/model_report.h"
#include "cli/output.h"
#include "io/checkpoint.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral info model.gguf\n"
    "  mixtral info mixtral-8x7b/ --tensors\n"
    "  mixtral info model.gguf --json | python3 -m json.tool";

}  // namespace

int InfoCommand(Arguments arguments) {
  PathFlags path;
  bool json = false, tensors = false;
  CommandLine line("info", "What a model is, what it costs, and which kernels run it here.",
                   kExamples);
  path.AddTo(line, "A GGUF file, or a folder with safetensors");
  line.Flag("--tensors", &tensors, "List every tensor: name, type, shape, bytes");
  line.Flag("--json", &json, "Print one JSON object");
  if (!line.Parse(arguments)) return kExitOk;
  path.Apply();
  const auto checkpoint = OpenCheckpoint(path.path);
  Json report = DescribeModel(*checkpoint);
  report.Set("kernels", DescribeKernels());
  if (tensors) report.Set("tensors", DescribeTensors(*checkpoint));
  WriteOut(json ? report.Dump() + "\n" : ReportText(report));
  return kExitOk;
}

}  // namespace mixtral::cli
