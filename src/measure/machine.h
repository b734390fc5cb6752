// SPDX-License-Identifier: Apache-2.0
// What this machine is, as far as its speed goes: written beside every measured figure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mixtral {

struct Machine {
  std::string cpu;        // "AMD EPYC 7571"; "unknown" where the system does not say
  int cpus = 1;           // that this process may use
  uint64_t l3_bytes = 0;  // of all third-level caches together; 0: unknown
  uint64_t memory_bytes = 0;
};

Machine ThisMachine();

/// "model name" of the text of /proc/cpuinfo; "unknown" without one.
std::string CpuName(std::string_view cpuinfo);
/// Sum over the distinct caches of level 3 below a folder like /sys/devices/system/cpu.
uint64_t TotalL3Bytes(const std::string& folder);

}  // namespace mixtral
