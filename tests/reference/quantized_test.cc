// SPDX-License-Identifier: Apache-2.0
// FP8, GPTQ and AWQ folders mean the weights that their writer drew: every tensor is compared value
// by value, and the model's results with the readable reference on those weights.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/json.h"
#include "base/mapped_file.h"
#include "reference/reference_model.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/quantized_files.h"
#include "support/temp_dir.h"
#include "support/tensor_rows.h"
#include "tensor/float_bits.h"

namespace mixtral::testing {
namespace {

ModelConfig Blocks() {
  ModelConfig config = TinyConfig();
  config.dim = config.ffn_dim = 64;  // rows of two whole blocks, so of two groups of 32
  config.head_dim = 16;
  return config;
}

enum class Rounding : uint8_t { kNone, kF16 };

/// Every tensor of the folder has these values; matrices of layers have this type.
void ExpectTensors(const Checkpoint& checkpoint, const TinyModel& meant, DType dtype,
                   Rounding rounding) {
  for (const TinyTensor& tensor : meant.tensors) {
    const std::string name =
        TensorName(NamingScheme::kHuggingFace, tensor.role, tensor.layer, tensor.expert);
    SCOPED_TRACE(name);
    const TensorView* look = checkpoint.Look(name);
    ASSERT_NE(look, nullptr);
    const TensorView seen = *look;  // before anything is converted
    const TensorView& view = *checkpoint.Find(name);
    EXPECT_EQ(seen.bytes.size(), view.bytes.size());
    EXPECT_EQ(seen.dtype, view.dtype);
    std::vector<float> want = tensor.values;
    if (name.find("_proj") != std::string::npos || name.find(".experts.") != std::string::npos) {
      EXPECT_EQ(view.dtype, dtype);
      if (rounding == Rounding::kF16)
        for (float& value : want) value = F16ToF32(F32ToF16(value));
    }
    const std::vector<float> found = DecodeTensor(view);
    ASSERT_EQ(found.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(found[i], want[i]) << i;
  }
}

void ExpectModel(const std::string& path, const TinyModel& meant) {
  const TempDir dir;
  WriteHuggingFace(meant, dir / "f32", DType::kF32);
  HarnessOptions options;
  options.mode = ComputeMode::kExact;
  options.kv_dtype = DType::kF32;
  Harness harness(path, options);
  EXPECT_TRUE(harness.notices().empty()) << harness.notices().front();
  const std::vector<int32_t> tokens = RandomTokens(30, meant.config.vocab_size, 4);
  const auto plain = OpenCheckpoint(dir / "f32");
  const std::vector<float> want = ReferenceModel(*plain, harness.config()).Forward(tokens).logits;
  double squares = 0;
  for (const float x : want) squares += double{x} * x;
  const double deviation = std::sqrt(squares / static_cast<double>(want.size()));
  EXPECT_GT(deviation, 0.01);
  EXPECT_LT(MaxAbsDifference(harness.Run(tokens), want), 1e-3 * deviation);
}

struct Case {
  const char* name;
  Packed4Options options;
  int ffn_dim;
  DType dtype;
  Rounding rounding;
};

class Packed4 : public ::testing::TestWithParam<Case> {};

TEST_P(Packed4, MeansWhatWasPacked) {
  const Case& test = GetParam();
  ModelConfig config = Blocks();
  config.ffn_dim = test.ffn_dim;
  const TempDir dir;
  const TinyModel meant = WritePacked4(MakeTinyModel(config, 5), dir / "q", test.options);
  const auto checkpoint = OpenCheckpoint(dir / "q");
  EXPECT_NE(checkpoint->format().find("4-bit weights converted"), std::string::npos);
  if (test.ffn_dim % 32 == 0) ExpectTensors(*checkpoint, meant, test.dtype, test.rounding);
  if (test.rounding == Rounding::kNone) ExpectModel(dir / "q", meant);
}

Packed4Options With(Packing packing, int group, bool symmetric = false) {
  Packed4Options options;
  options.packing = packing;
  options.group = group;
  options.symmetric = symmetric;
  return options;
}

std::vector<Case> Cases() {
  Packed4Options reordered = With(Packing::kGptq, 32);
  reordered.reordered = true;
  Packed4Options bf16 = With(Packing::kAwq, 32);
  bf16.scales = DType::kBF16;
  Packed4Options biases = With(Packing::kGptq, 32, true);
  biases.zero_biases = biases.config_in_own_file = true;
  const auto none = Rounding::kNone, f16 = Rounding::kF16;
  return {{"gptq", With(Packing::kGptq, 32), 64, DType::kQ5_0, none},
          {"gptq_symmetric", With(Packing::kGptq, 32, true), 64, DType::kQ4_0, none},
          {"gptq_v2", With(Packing::kGptqV2, 32), 64, DType::kQ5_0, none},
          {"gptq_v2_symmetric_one_group", With(Packing::kGptqV2, -1, true), 64, DType::kQ4_0, none},
          {"gptq_zero_biases", biases, 64, DType::kQ4_0, none},
          {"gptq_reordered", reordered, 64, DType::kF16, f16},
          {"gptq_groups_of_16", With(Packing::kGptq, 16), 64, DType::kF16, f16},
          {"gptq_odd_rows", With(Packing::kGptq, 32), 48, DType::kF16, none},
          {"awq", With(Packing::kAwq, 32), 64, DType::kQ5_0, none},
          {"awq_one_group", With(Packing::kAwq, -1), 64, DType::kQ5_0, none},
          {"awq_bf16_scales", bf16, 64, DType::kF16, f16}};
}

INSTANTIATE_TEST_SUITE_P(All, Packed4, ::testing::ValuesIn(Cases()),
                         [](const auto& param) { return std::string(param.param.name); });

class Fp8 : public ::testing::TestWithParam<Fp8Scales> {};

TEST_P(Fp8, MeansWhatWasStored) {
  const TempDir dir;
  const TinyModel meant = WriteFp8(MakeTinyModel(TinyConfig(), 6), dir / "q", GetParam());
  const auto checkpoint = OpenCheckpoint(dir / "q");
  EXPECT_NE(checkpoint->format().find("FP8 weights converted"), std::string::npos);
  ExpectTensors(*checkpoint, meant, DType::kF16, Rounding::kNone);
  ExpectModel(dir / "q", meant);
}

std::string ScalesName(const ::testing::TestParamInfo<Fp8Scales>& info) {
  constexpr std::array<const char*, 3> kNames = {"one_scale", "a_scale_a_row", "blocks"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(All, Fp8,
                         ::testing::Values(Fp8Scales::kTensor, Fp8Scales::kRow, Fp8Scales::kBlocks),
                         ScalesName);

TEST(Fp8Weights, OfADenseModelToo) {
  ModelConfig config = TinyConfig();
  config.n_experts = config.experts_per_token = 0;
  const TempDir dir;
  ExpectModel(dir / "q", WriteFp8(MakeTinyModel(config, 7), dir / "q", Fp8Scales::kTensor));
  config.ffn_dim = 64;
  ExpectModel(dir / "g", WritePacked4(MakeTinyModel(config, 7), dir / "g", {}));
}

}  // namespace
}  // namespace mixtral::testing
