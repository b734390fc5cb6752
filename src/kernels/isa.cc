// SPDX-License-Identifier: Apache-2.0
// What this host can run: CPUID for the processor, XGETBV for the registers that the operating
// system saves.
#include "kernels/isa.h"

#include <cpuid.h>

namespace mixtral::kernels {
namespace {

/// The register sets that the operating system saves (XCR0). Only valid when CPUID reports OSXSAVE;
/// written in assembly because the intrinsic needs a target of its own.
uint64_t SavedRegisterSets() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

}  // namespace

uint32_t HostFeatures() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return 0;
  const bool os_saves_registers = (ecx >> 27 & 1) != 0;       // OSXSAVE
  if (!os_saves_registers || (ecx >> 28 & 1) == 0) return 0;  // AVX
  constexpr uint64_t kXmmAndYmm = 0x6;
  if ((SavedRegisterSets() & kXmmAndYmm) != kXmmAndYmm) return 0;
  uint32_t features = 0;
  if ((ecx >> 12 & 1) != 0) features |= kFmaBit;
  if ((ecx >> 29 & 1) != 0) features |= kF16cBit;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx >> 5 & 1) != 0)
    features |= kAvx2Bit;
  return features;
}

Isa HostIsa() {
  const uint32_t needed = RequiredFeatures(Isa::kAvx2);
  return (HostFeatures() & needed) == needed ? Isa::kAvx2 : Isa::kScalar;
}

std::optional<Isa> IsaFromName(std::string_view name) {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2}) {
    if (name == IsaName(isa)) return isa;
  }
  return std::nullopt;
}

}  // namespace mixtral::kernels
