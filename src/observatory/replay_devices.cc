// SPDX-License-Identifier: Apache-2.0
// A row goes to a device once, however many of its experts are there.
#include "observatory/replay_devices.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace mixtral::observatory {
namespace {

size_t At(int i) { return static_cast<size_t>(i); }

/// Calls visit(sequence, token in it) for tokens of a range.
template <class Visit>
void ForTokens(const Trace& trace, TokenRange range, Visit&& visit) {
  int64_t at = 0;
  for (const TraceSequence& sequence : trace.sequences)
    for (size_t t = 0; t < sequence.tokens.size(); ++t, ++at)
      if (at >= range.begin && at < range.end) visit(sequence, t);
}

/// [E, E] of each layer; the diagonal is the load.
std::vector<std::vector<int64_t>> CountTogether(const Trace& trace, TokenRange range) {
  const size_t n_experts = At(trace.info.n_experts);
  std::vector<std::vector<int64_t>> together(At(trace.info.n_layers),
                                             std::vector<int64_t>(n_experts * n_experts));
  ForTokens(trace, range, [&](const TraceSequence& sequence, size_t t) {
    for (int l = 0; l < trace.info.n_layers; ++l)
      for (const uint8_t a : trace.Choice(sequence, t, l))
        for (const uint8_t b : trace.Choice(sequence, t, l))
          if (a != kNoExpert && b != kNoExpert) ++together[At(l)][a * n_experts + b];
  });
  return together;
}

/// The busiest first; each goes to the device with room that gain likes best, the least loaded of
/// equals.
std::vector<int> PlaceGreedily(const std::vector<int64_t>& together, int n_experts, int n_devices,
                               Placement placement) {
  const auto load = [&](int e) { return together[At(e) * At(n_experts) + At(e)]; };
  std::vector<int> order(At(n_experts)), device_of(At(n_experts), -1), room(At(n_devices));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return load(a) > load(b); });
  std::fill(room.begin(), room.end(), (n_experts + n_devices - 1) / n_devices);
  std::vector<int64_t> loads(At(n_devices));
  for (const int e : order) {
    int best = -1;
    int64_t best_gain = 0;
    for (int d = 0; d < n_devices; ++d) {
      if (room[At(d)] == 0) continue;
      int64_t gain = 0;
      if (placement == Placement::kTogether)
        for (int other = 0; other < n_experts; ++other)
          if (device_of[At(other)] == d) gain += together[At(e) * At(n_experts) + At(other)];
      const bool is_better =
          best < 0 || gain > best_gain || (gain == best_gain && loads[At(d)] < loads[At(best)]);
      if (!is_better) continue;
      best = d;
      best_gain = gain;
    }
    device_of[At(e)] = best;
    loads[At(best)] += load(e);
    --room[At(best)];
  }
  return device_of;
}

/// One step: what its tokens ask of each device in one layer.
struct StepLoad {
  std::vector<int64_t> assignments, in, out;  // [N] in, out: rows over the link
  std::vector<uint8_t> is_active;             // [E]

  StepLoad(int n_devices, int n_experts)
      : assignments(At(n_devices)),
        in(At(n_devices)),
        out(At(n_devices)),
        is_active(At(n_experts)) {}
};

class DeviceReplay {
 public:
  DeviceReplay(const Trace& trace, const std::vector<std::vector<int>>& device_of,
               const DeviceMachine& machine)
      : trace_(trace), device_of_(device_of), machine_(machine) {
    Restart();
  }

  void Add(const TraceSequence& sequence, size_t token) {
    const int home = static_cast<int>(n_in_step_ % machine_.n_devices);
    for (int l = 0; l < trace_.info.n_layers; ++l) {
      StepLoad& load = layers_[At(l)];
      std::vector<uint8_t> visited(At(machine_.n_devices));
      for (const uint8_t id : trace_.Choice(sequence, token, l)) {
        if (id == kNoExpert) continue;
        const int device = device_of_[At(l)][id];
        ++load.assignments[At(device)];
        load.is_active[id] = 1;
        if (device == home || visited[At(device)] != 0) continue;
        visited[At(device)] = 1;
        ++n_remote_;
        ++load.out[At(home)];  // there
        ++load.in[At(device)];
        ++load.out[At(device)];  // and back
        ++load.in[At(home)];
      }
    }
    ++n_tokens_;
    if (++n_in_step_ == machine_.batch) EndStep();
  }

  DeviceCost Finish() {
    if (n_in_step_ > 0) EndStep();
    const auto n = static_cast<double>(std::max<int64_t>(1, n_tokens_));
    const auto row = static_cast<double>(trace_.info.dim) * machine_.value_bytes;
    return {.imbalance = imbalance_ / static_cast<double>(std::max<int64_t>(1, n_steps_)) /
                         trace_.info.n_layers,
            .remote = static_cast<double>(n_remote_) / n / trace_.info.n_layers,
            .bytes_per_token = 2 * row * static_cast<double>(n_remote_) / n,
            .tokens_per_second = seconds_ > 0 ? n / seconds_ : 0};
  }

 private:
  void Restart() {
    layers_.assign(At(trace_.info.n_layers), StepLoad(machine_.n_devices, trace_.info.n_experts));
    n_in_step_ = 0;
  }

  void EndStep() {
    const TraceInfo& info = trace_.info;
    seconds_ += static_cast<double>(info.other_bytes) / machine_.memory_rate;
    const auto row = static_cast<double>(info.dim) * machine_.value_bytes;
    for (size_t l = 0; l < layers_.size(); ++l) {
      const StepLoad& load = layers_[l];
      std::vector<int64_t> active(At(machine_.n_devices));
      for (size_t e = 0; e < load.is_active.size(); ++e)
        active[At(device_of_[l][e])] += load.is_active[e];
      const auto sum = static_cast<double>(
          std::accumulate(load.assignments.begin(), load.assignments.end(), int64_t{0}));
      const auto most = [](const std::vector<int64_t>& values) {
        return static_cast<double>(*std::max_element(values.begin(), values.end()));
      };
      imbalance_ += most(load.assignments) * machine_.n_devices / sum;
      seconds_ += most(active) * static_cast<double>(info.expert_bytes) / machine_.memory_rate;
      seconds_ += std::max(most(load.in), most(load.out)) * row / machine_.link_rate;
    }
    ++n_steps_;
    Restart();
  }

  const Trace& trace_;
  const std::vector<std::vector<int>>& device_of_;
  const DeviceMachine& machine_;
  std::vector<StepLoad> layers_;
  int64_t n_in_step_ = 0, n_steps_ = 0, n_tokens_ = 0, n_remote_ = 0;
  double imbalance_ = 0, seconds_ = 0;
};

}  // namespace

std::string_view PlacementName(Placement placement) {
  constexpr std::array<std::string_view, 4> kNames = {"contiguous", "round-robin", "balanced",
                                                      "together"};
  return kNames[static_cast<size_t>(placement)];
}

std::vector<std::vector<int>> PlaceExperts(const Trace& trace, TokenRange seen, int n_devices,
                                           Placement placement) {
  const int n_experts = trace.info.n_experts;
  std::vector<std::vector<int>> device_of;
  const auto together = CountTogether(trace, seen);
  for (int l = 0; l < trace.info.n_layers; ++l) {
    if (placement == Placement::kBalanced || placement == Placement::kTogether) {
      device_of.push_back(PlaceGreedily(together[At(l)], n_experts, n_devices, placement));
      continue;
    }
    std::vector<int>& layer = device_of.emplace_back();
    for (int e = 0; e < n_experts; ++e)
      layer.push_back(placement == Placement::kContiguous ? e * n_devices / n_experts
                                                          : e % n_devices);
  }
  return device_of;
}

DeviceCost ReplayDevices(const Trace& trace, TokenRange range,
                         const std::vector<std::vector<int>>& device_of,
                         const DeviceMachine& machine) {
  DeviceReplay replay(trace, device_of, machine);
  ForTokens(trace, range,
            [&](const TraceSequence& sequence, size_t t) { replay.Add(sequence, t); });
  return replay.Finish();
}

}  // namespace mixtral::observatory
