// SPDX-License-Identifier: Apache-2.0
// A PyTorch file of any bytes, or its pickle alone when the input begins like one. Packed experts
// are sliced and transposed, too. Nothing may be read outside the input.
#include "fuzz/fuzz_support.h"
#include "io/packed_experts.h"
#include "io/pickle.h"
#include "io/torch_zip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = mixtral::fuzz::Bytes(data, size);
  mixtral::fuzz::Accepts([&] {
    if (size > 0 && data[0] == 0x80) {
      mixtral::ParsePickledStateDict(bytes);
      return;
    }
    mixtral::NamedViews tensors = mixtral::ParseTorchZip(bytes);
    for (const auto& [name, view] : tensors) mixtral::fuzz::TouchEnds(view);
    constexpr int64_t kExperts = 2;
    for (const auto& made : mixtral::TransposedExperts(tensors, kExperts, "input")) {
      size_t elements = 1;
      for (const int64_t n : made.shape) elements *= static_cast<size_t>(n);
      std::vector<std::byte> out(elements *
                                 static_cast<size_t>(mixtral::Info(made.dtype).block_bytes));
      made.make(out);
    }
    for (const auto& [name, view] :
         mixtral::SlicePackedExperts(std::move(tensors), kExperts, "input"))
      mixtral::fuzz::TouchEnds(view);
  });
  return 0;
}
