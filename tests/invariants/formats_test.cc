// SPDX-License-Identifier: Apache-2.0
// The same weights in every kind of checkpoint give the same bits: the formats differ in names, row
// order, merging and files, never in the result.
#include <gtest/gtest.h>

#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

struct Shape {
  const char* name;
  int n_experts;
  int head_dim;
  bool tied;
};

class Formats : public ::testing::TestWithParam<std::tuple<Shape, ComputeMode, DType>> {};

TEST_P(Formats, NativeIsHuggingFaceIsGguf) {
  const auto& [shape, mode, dtype] = GetParam();
  ModelConfig config = TinyConfig();
  config.n_experts = shape.n_experts;
  config.experts_per_token = shape.n_experts > 0 ? 2 : 0;
  config.head_dim = shape.head_dim;
  config.tied_embeddings = shape.tied;
  const TinyModel model = MakeTinyModel(config, 11);
  const TempDir dir;
  WriteHuggingFace(model, dir / "hf", dtype);
  WriteHuggingFace(model, dir / "sharded", dtype, 3);
  WriteGguf(model, dir / "merged.gguf", {.dtype = dtype});
  WriteGguf(model, dir / "split.gguf", {.dtype = dtype, .experts = ExpertLayout::kSplit});
  WriteGguf(model, dir / "router.gguf", {.dtype = dtype, .router = dtype});
  WriteMistral(model, dir / "native", dtype);
  WriteGguf(model, dir / "v2.gguf", {.dtype = dtype, .version = 2});
  WriteGguf(model, dir / "scattered.gguf",
            {.dtype = dtype, .experts = ExpertLayout::kSplit, .order = TensorOrder::kScattered});
  std::vector<const char*> others = {"sharded",     "native",  "merged.gguf",   "split.gguf",
                                     "router.gguf", "v2.gguf", "scattered.gguf"};
  WriteTorch(model, dir / "pth", dtype, TorchLayout::kPlain);
  WriteTorch(model, dir / "pth-files", dtype, TorchLayout::kPlain, 3);
  others.insert(others.end(), {"pth", "pth-files"});
  if (shape.n_experts > 0) {
    WriteTorch(model, dir / "pt-packed", dtype, TorchLayout::kPacked, 8);
    others.push_back("pt-packed");
    WriteHuggingFace(model, dir / "fused", dtype, 1, {0, 1});
    WriteHuggingFace(model, dir / "half-fused", dtype, 2, {1});
    others.insert(others.end(), {"fused", "half-fused"});
  }
  HarnessOptions options;
  options.mode = mode;
  const std::vector<int32_t> tokens = RandomTokens(40, config.vocab_size, 2);
  const std::vector<float> want = Harness(dir / "hf", options).Run(tokens);
  for (const char* other : others) {
    Harness harness(dir / other, options);
    EXPECT_TRUE(harness.notices().empty()) << other << ": " << harness.notices().front();
    EXPECT_TRUE(SameBits(want, harness.Run(tokens))) << other;
  }
}

std::string NameOf(const ::testing::TestParamInfo<Formats::ParamType>& info) {
  const auto& [shape, mode, dtype] = info.param;
  return std::string(shape.name) + (mode == ComputeMode::kFast ? "_fast_" : "_exact_") +
         std::string(Name(dtype));
}

INSTANTIATE_TEST_SUITE_P(
    All, Formats,
    ::testing::Combine(::testing::Values(Shape{"moe", 4, 8, false},
                                         Shape{"wide_heads", 3, 10, false},
                                         Shape{"tied", 4, 8, true}, Shape{"dense", 0, 8, false}),
                       ::testing::Values(ComputeMode::kFast, ComputeMode::kExact),
                       ::testing::Values(DType::kF32, DType::kF16, DType::kBF16)),
    NameOf);

}  // namespace
}  // namespace mixtral::testing
