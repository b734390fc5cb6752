// SPDX-License-Identifier: Apache-2.0
// What expert parallelism would have cost on a recorded trace: each layer's experts lie on N
// devices, every token has a home device, and its row travels to the devices of its experts and
// back. Arithmetic alone.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "observatory/trace.h"

namespace mixtral::observatory {

enum class Placement : uint8_t {
  kContiguous,  // expert e on device e * N / E
  kRoundRobin,  // e % N
  kBalanced,    // the busiest first, each to the device with the least load that has room
  kTogether,  // the busiest first, each to where the experts that go with it are, if there is room
};
inline constexpr Placement kPlacements[] = {Placement::kContiguous, Placement::kRoundRobin,
                                            Placement::kBalanced, Placement::kTogether};
std::string_view PlacementName(Placement placement);  // "contiguous", ...

/// Tokens [begin, end) of the trace, counted over all sequences.
struct TokenRange {
  int64_t begin = 0, end = 0;
};

/// device_of[layer][expert]. The last two look at the tokens of `seen`; no device gets more than
/// ceil(E / N) experts.
std::vector<std::vector<int>> PlaceExperts(const Trace& trace, TokenRange seen, int n_devices,
                                           Placement placement);

struct DeviceMachine {
  int n_devices = 1, batch = 1;  // tokens of a step
  double memory_rate = 0;        // of each device, bytes per second
  double link_rate = 0;          // of each device, bytes per second in each direction
  int value_bytes = 2;           // of an element of a row
};

struct DeviceCost {
  double imbalance = 0;  // largest load of a device / mean load, averaged over steps and layers
  double remote = 0;     // devices other than its home that a token visits in a layer
  double bytes_per_token = 0;  // sent in all layers, there and back
  double tokens_per_second = 0;
};

/// Steps of machine.batch consecutive tokens of `range`; token i of a step is at home on device
/// i % N, whose attention and norms it uses. In each layer a device reads its active experts once;
/// the slowest device and the busiest link count, one after the other.
DeviceCost ReplayDevices(const Trace& trace, TokenRange range,
                         const std::vector<std::vector<int>>& device_of,
                         const DeviceMachine& machine);

}  // namespace mixtral::observatory
