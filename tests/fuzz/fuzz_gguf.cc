// SPDX-License-Identifier: Apache-2.0
// A GGUF file of any bytes through parser, config, loader and plan; only the arithmetic is left
// out.
#include "fuzz/fuzz_support.h"
#include "fuzz/memory_checkpoint.h"
#include "io/gguf.h"
#include "model/fake_backend.h"
#include "model/loader.h"
#include "model/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mixtral::fuzz::Accepts([&] {
    mixtral::GgufFile file = mixtral::ParseGguf(mixtral::fuzz::Bytes(data, size));
    for (const auto& [name, view] : file.tensors) mixtral::fuzz::TouchEnds(view);
    const mixtral::fuzz::MemoryCheckpoint checkpoint(std::move(file));
    const mixtral::ModelConfig config = mixtral::ReadConfig(checkpoint).config;
    mixtral::PlanMemory(checkpoint, config, mixtral::DType::kF16);
    mixtral::testing::FakeBackend backend;
    mixtral::LoadModel(checkpoint, &backend);
  });
  return 0;
}
