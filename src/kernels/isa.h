// SPDX-License-Identifier: Apache-2.0
// The instruction sets that have kernels, the CPU features each one needs, and what this host
// offers. ISA facts live here and in <isa>/target_begin.h, nowhere else.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mixtral::kernels {

enum class Isa : uint8_t { kScalar, kAvx2 };  // ascending: a host that runs one runs all before it

inline constexpr uint32_t kAvx2Bit = 1u << 0, kFmaBit = 1u << 1, kF16cBit = 1u << 2;

constexpr uint32_t RequiredFeatures(Isa isa) {
  return isa == Isa::kScalar ? 0u : (kAvx2Bit | kFmaBit | kF16cBit);
}
constexpr std::string_view IsaName(Isa isa) { return isa == Isa::kScalar ? "scalar" : "avx2"; }

uint32_t HostFeatures();  // CPUID, and XGETBV for the operating system's part
Isa HostIsa();            // the highest one whose features the host has
std::optional<Isa> IsaFromName(std::string_view name);

}  // namespace mixtral::kernels
