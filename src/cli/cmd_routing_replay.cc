// SPDX-License-Identifier: Apache-2.0
// mixtral routing replay: what caches of experts and several devices would have done on a recorded
// trace. No model is opened.
#include <algorithm>

#include "base/mapped_file.h"
#include "cli/cmd_routing.h"
#include "cli/command_line.h"
#include "cli/output.h"
#include "observatory/replay_report.h"
#include "observatory/trace_file.h"

namespace mixtral::cli {
namespace {

constexpr double kGiga = 1e9;
constexpr int kMaxExperts = 1 << 20;

struct ReplayFlags {
  std::string trace;
  std::vector<std::string> cache, devices;
  std::optional<std::string> page;
  float ram = 0, memory = 20, disk = 3, link = 25;
  int64_t expert_bytes = 0;
  int guesses = 0, batch = 32;
  bool json = false;

  bool Parse(Arguments arguments) {
    CommandLine line(
        "routing replay",
        "Replays a trace token by token: hits, bytes and the speed at most for caches of experts "
        "(LRU, LRU for each layer, LFU, a hybrid, and an oracle that knows the future) and for "
        "experts loaded ahead by a guess; load and traffic for experts on several devices.",
        "  mixtral run model.gguf -p 'Once' --routing run.mxroute\n"
        "  mixtral routing replay run.mxroute\n"
        "  mixtral routing replay run.mxroute --ram 16 --disk-gbps 3.5 --expert-bytes 99000000\n"
        "  mixtral routing replay run.mxroute --cache 8 --cache 16 --devices 4 -o replay.html\n");
    line.Required("TRACE", &trace, "A trace of run, chat, serve or 'mixtral routing'");
    line.TextList("--cache", &cache, "N",
                  "Experts in the cache, of all layers together; may be repeated (default: eight "
                  "sizes up to all of them)");
    line.Real("--ram", &ram, {0.0001, 1e6}, "Memory in GB: the cache is what fits beside the rest");
    line.Real("--memory-gbps", &memory, {0.001, 1e6},
              "GB/s at which weights in memory are read (default 20)");
    line.Real("--disk-gbps", &disk, {0.001, 1e6}, "GB/s at which missing experts come (default 3)");
    line.Real("--link-gbps", &link, {0.001, 1e6},
              "GB/s of a device's link in each direction (default 25)");
    line.Int("--expert-bytes", &expert_bytes, {1, int64_t{1} << 40},
             "Size of an expert (default: that of the model and its type)");
    line.Int("--guesses", &guesses, {1, 255},
             "Experts of a layer loaded ahead (default: as many as a token uses)");
    line.TextList("--devices", &devices, "N",
                  "Devices to place the experts on; may be repeated (default 2, 4 and 8)");
    line.Int("--batch", &batch, {1, 1 << 20}, "Tokens of a step on several devices (default 32)");
    line.Text("-o,--out", &page, "FILE", "Write charts as one HTML file");
    line.Flag("--json", &json, "Print the report as one JSON object");
    return line.Parse(arguments);
  }
};

/// Ascending, each once.
std::vector<int> Numbers(const std::vector<std::string>& words, IntRange range, const char* flag) {
  std::vector<int> numbers;
  for (const std::string& word : words)
    numbers.push_back(static_cast<int>(ParseInt(word, range, flag)));
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

}  // namespace

int RoutingReplayCommand(Arguments arguments) {
  ReplayFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  observatory::ReplayOptions options;
  options.cache_sizes = Numbers(flags.cache, {1, kMaxExperts}, "--cache");
  options.devices = Numbers(flags.devices, {1, 255}, "--devices");
  if (flags.devices.empty()) options.devices = {2, 4, 8};
  observatory::Trace trace = observatory::ReadTrace(flags.trace);
  if (flags.expert_bytes > 0) trace.info.expert_bytes = static_cast<uint64_t>(flags.expert_bytes);
  if (flags.ram > 0) {
    options.cache_sizes.push_back(
        observatory::CacheSizeFor(trace.info, static_cast<double>(flags.ram) * kGiga));
    std::sort(options.cache_sizes.begin(), options.cache_sizes.end());
  }
  if (options.cache_sizes.empty()) options.cache_sizes = observatory::DefaultCacheSizes(trace.info);
  options.n_guesses = flags.guesses;
  options.batch = flags.batch;
  options.memory_rate = static_cast<double>(flags.memory) * kGiga;
  options.disk_rate = static_cast<double>(flags.disk) * kGiga;
  options.link_rate = static_cast<double>(flags.link) * kGiga;
  const Json report = observatory::MakeReplayReport(trace, options);
  if (flags.page) {
    const std::string page = observatory::ReplayPage(report);
    WriteFileAtomically(*flags.page, std::as_bytes(std::span(page)));
  }
  WriteOut(flags.json ? report.Dump() + "\n" : observatory::ReplayReportText(report));
  return kExitOk;
}

}  // namespace mixtral::cli
