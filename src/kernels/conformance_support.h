// SPDX-License-Identifier: Apache-2.0
// What the conformance tests share: the ISAs of this host, buffers that start at an odd address and
// are full of NaN wherever nothing valid lies, and the random rows of random_rows.h.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "kernels/random_rows.h"

namespace mixtral::kernels::testing {

inline std::vector<Isa> HostIsas() {
  std::vector<Isa> isas = {Isa::kScalar};
  if (HostIsa() >= Isa::kAvx2) isas.push_back(Isa::kAvx2);
  return isas;
}

/// n bytes of 0xFF (every float in it a NaN), `misalignment` bytes behind a multiple of 64.
class Bytes {
 public:
  explicit Bytes(size_t n, size_t misalignment = 0)
      : storage_(n + 192, std::byte{0xFF}), misalignment_(misalignment), n_(n) {}
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) + misalignment_;
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data());
  }
  /// Whether the 32 bytes behind the end still are 0xFF.
  bool EndUntouched() {
    for (size_t i = 0; i < 32; ++i) {
      if (data()[n_ + i] != std::byte{0xFF}) return false;
    }
    return true;
  }

 private:
  std::vector<std::byte> storage_;
  size_t misalignment_, n_;
};

}  // namespace mixtral::kernels::testing
