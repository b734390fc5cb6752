// SPDX-License-Identifier: Apache-2.0
// make_tiny_model OUT_DIR: writes one random tiny Mixtral as OUT_DIR/hf, OUT_DIR/hf-sharded,
// OUT_DIR/native and OUT_DIR/tiny-{f32,f16,q8_0}.gguf (with a stand-in vocabulary), all the same
// weights. For end-to-end tests that start the real binary.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "support/model_files.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

void WriteAll(const std::string& dir) {
  ModelConfig config = TinyConfig();
  config.vocab_size = 400;
  config.ffn_dim = 64;  // whole blocks of 32 for q8_0
  const TinyModel model = MakeTinyModel(config, 20231208);
  WriteHuggingFace(model, dir + "/hf", DType::kBF16);
  WriteHuggingFace(model, dir + "/hf-sharded", DType::kF16, 3);
  WriteMistral(model, dir + "/native", DType::kBF16);
  WriteGguf(model, dir + "/tiny-f32.gguf", {.dtype = DType::kF32});
  WriteGguf(model, dir + "/tiny-f16.gguf", {.dtype = DType::kF16});
  WriteGguf(model, dir + "/tiny-q8_0.gguf", {.dtype = DType::kQ8_0});
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_tiny_model OUT_DIR\n", stderr);
    return 1;
  }
  try {
    std::filesystem::create_directories(argv[1]);
    WriteAll(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_tiny_model: %s\n", error.what());
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace mixtral::testing

int main(int argc, char** argv) { return mixtral::testing::Main(argc, argv); }
