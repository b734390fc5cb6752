// SPDX-License-Identifier: Apache-2.0
// ParseSafetensors on any bytes. What it accepts must tile the data exactly.
#include "fuzz/fuzz_support.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mixtral::fuzz::Accepts([&] {
    const mixtral::SafetensorsFile file =
        mixtral::ParseSafetensors(mixtral::fuzz::Bytes(data, size));
    size_t data_bytes = 0;
    for (const auto& [name, view] : file.tensors) {
      mixtral::fuzz::TouchEnds(view);
      data_bytes += view.bytes.size();
    }
    for (const mixtral::Fp8Tensor& tensor : file.fp8) data_bytes += tensor.bytes.size();
    if (data_bytes > size) std::abort();
  });
  return 0;
}
