// SPDX-License-Identifier: Apache-2.0
// Quantised Hugging Face folders: values computed by hand from the published layouts, and what is
// refused. Whole models are compared in tests/reference.
#include <gtest/gtest.h>

#include <cmath>

#include "io/checkpoint.h"
#include "io/fp8_weights.h"
#include "io/quantization_config.h"
#include "io/test_images.h"
#include "tensor/block_formats.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::Image;
using test::TempFolder;

std::string Commas(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}

/// A safetensors file, tensor by tensor.
class Weights {
 public:
  template <class T>
  Weights& Add(std::string_view name, std::string_view dtype, const std::vector<int64_t>& shape,
               const std::vector<T>& values) {
    const size_t begin = data_.size();
    test::AppendBytes(&data_, values.data(), values.size() * sizeof(T));
    header_ +=
        fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                    header_.empty() ? "" : ",", name, dtype, Commas(shape), begin, data_.size());
    return *this;
  }
  Image Build() const {
    Image image = test::SafetensorsImage("{" + header_ + "}", 0);
    image.insert(image.end(), data_.begin(), data_.end());
    return image;
  }

 private:
  std::string header_;
  Image data_;
};

std::unique_ptr<Checkpoint> Open(const TempFolder& folder, const std::string& quantization,
                                 const Weights& weights) {
  folder.Write("config.json", R"({"quantization_config":)" + quantization + "}");
  folder.Write("model.safetensors", weights.Build());
  return OpenCheckpoint(folder.path());
}

std::vector<float> Row(const TensorView& view, int64_t row) {
  const int64_t cols = view.shape[1];
  std::vector<float> out(static_cast<size_t>(cols));
  const std::byte* at = view.bytes.data() + static_cast<size_t>(row) * RowBytes(view.dtype, cols);
  if (view.dtype == DType::kF16) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = F16ToF32(LoadUnaligned<uint16_t>(at + 2 * i));
  } else {
    kBlockFormats[Index(view.dtype)].dequantize(at, cols, out.data());
  }
  return out;
}

constexpr uint16_t kHalf = 0x3800, kOne = 0x3C00;  // 0.5 and 1 in F16
const std::vector<uint16_t> kEightHalves(8, kHalf), kEightOnes(8, kOne);

TEST(Gptq, ByHand) {
  const TempFolder folder;
  // 32 inputs, 8 outputs. Output 0 has 0..7 in its first eight inputs, output 1 has fifteens.
  std::vector<uint32_t> qweight(32, 0);
  qweight[0] = 0x76543210;
  qweight[1] = 0xFFFFFFFF;
  Weights weights;
  weights.Add("m.qweight", "I32", {4, 8}, qweight);
  weights.Add("m.qzeros", "I32", {1, 1}, std::vector<uint32_t>{0x77777727});  // output 1: 2
  weights.Add("m.scales", "F16", {1, 8}, kEightHalves);
  const std::string v1 = R"({"quant_method":"gptq","bits":4,"group_size":32,"sym":false})";
  const auto checkpoint = Open(folder, v1, weights);
  EXPECT_EQ(checkpoint->Names(), std::vector<std::string>{"m.weight"});
  EXPECT_EQ(checkpoint->Look("m.weight")->bytes.data(), nullptr) << "nothing converted yet";
  EXPECT_EQ(checkpoint->Where("m.weight"), folder.In("model.safetensors") + ":m.weight");
  const TensorView& view = *checkpoint->Find("m.weight");
  EXPECT_EQ(checkpoint->Look("m.weight")->bytes.data(), view.bytes.data());
  EXPECT_EQ(view.dtype, DType::kQ5_0);
  EXPECT_EQ(view.shape, (std::array<int64_t, 4>{8, 32, 0, 0}));
  for (size_t k = 0; k < 8; ++k) {
    EXPECT_EQ(Row(view, 0)[k], 0.5f * (static_cast<float>(k) - 8));  // stored 7 means 8
    EXPECT_EQ(Row(view, 1)[k], 0.5f * (15 - 3));                     // stored 2 means 3
  }
  EXPECT_EQ(Row(view, 0)[8], 0.5f * (0 - 8));
  const auto v2 = Open(
      folder, R"({"quant_method":"gptq","bits":4,"group_size":-1,"checkpoint_format":"gptq_v2"})",
      weights);
  EXPECT_EQ(Row(*v2->Find("m.weight"), 1)[0], 0.5f * (15 - 2));
}

TEST(Gptq, ASymmetricFileThatIsNotIsRefused) {
  const TempFolder folder;
  Weights weights;
  weights.Add("m.qweight", "I32", {4, 8}, std::vector<uint32_t>(32, 0));
  weights.Add("m.qzeros", "I32", {1, 1}, std::vector<uint32_t>{0x77777727});
  weights.Add("m.scales", "F16", {1, 8}, kEightHalves);
  const auto checkpoint =
      Open(folder, R"({"quant_method":"gptq","bits":4,"group_size":32,"sym":true})", weights);
  EXPECT_EQ(checkpoint->Look("m.weight")->dtype, DType::kQ4_0);
  EXPECT_EQ(ErrorOf([&] { checkpoint->Find("m.weight"); }),
            "corrupt: zero point: expected 8 (sym is true), found 3, in " +
                folder.In("model.safetensors") + ":m.weight");
}

TEST(Awq, ByHand) {
  const TempFolder folder;
  std::vector<uint32_t> qweight(32, 0);  // 32 inputs, 8 outputs in one word each
  qweight[0] = 0x76543210;
  Weights weights;
  weights.Add("m.qweight", "I32", {32, 1}, qweight);
  weights.Add("m.qzeros", "I32", {1, 1}, std::vector<uint32_t>{0x10000020});  // outputs 7 and 2
  weights.Add("m.scales", "F16", {1, 8}, kEightOnes);
  const auto checkpoint =
      Open(folder, R"({"quant_method":"awq","bits":4,"group_size":32,"version":"GEMM"})", weights);
  const TensorView& view = *checkpoint->Find("m.weight");
  EXPECT_EQ(view.dtype, DType::kQ5_0);
  const float want[] = {0, 4, 1 - 2, 5, 2, 6, 3, 7 - 1};  // nibbles hold outputs 0 2 4 6 1 3 5 7
  for (int64_t n = 0; n < 8; ++n) EXPECT_EQ(Row(view, n)[0], want[n]) << n;
}

TEST(Fp8, ByHand) {
  const TempFolder folder;
  Weights weights;
  weights.Add("m.weight", "F8_E4M3", {2, 4},
              std::vector<uint8_t>{0x38, 0x40, 0xB8, 0x7E, 0x08, 0x01, 0x00, 0x3C});
  weights.Add("m.weight_scale", "F32", {}, std::vector<float>{0.25f});
  weights.Add("m.input_scale", "F32", {}, std::vector<float>{1});
  weights.Add("n.weight", "F8_E4M3", {2, 4}, std::vector<uint8_t>(8, 0x38));
  weights.Add("n.weight_scale_inv", "BF16", {1, 2}, std::vector<uint16_t>{0x4000, 0x40A0});
  const auto checkpoint =
      Open(folder, R"({"quant_method":"fp8","weight_block_size":[2,3]})", weights);
  EXPECT_EQ(checkpoint->Names(), (std::vector<std::string>{"m.weight", "n.weight"}));
  const TensorView& view = *checkpoint->Find("m.weight");
  EXPECT_EQ(view.dtype, DType::kF16);
  EXPECT_EQ(Row(view, 0), (std::vector<float>{0.25f, 0.5f, -0.25f, 112}));
  EXPECT_EQ(Row(view, 1), (std::vector<float>{0x1p-8f, 0x1p-11f, 0, 0.375f}));
  EXPECT_EQ(Row(*checkpoint->Find("n.weight"), 1), (std::vector<float>{2, 2, 2, 5}));
}

TEST(Fp8, WithoutAConfigItIsRefused) {
  const TempFolder folder;
  Weights weights;
  weights.Add("m.weight", "F8_E4M3", {1, 1}, std::vector<uint8_t>{0x38});
  EXPECT_EQ(ErrorOf([&] { Open(folder, "{}", weights); }),
            "unsupported: tensor dtype: expected F32, F16, BF16 or I32, found F8_E4M3 without a "
            "quantization_config of fp8, in " +
                folder.In("model.safetensors") + ":m.weight");
}

TEST(Fp8, EveryByte) {
  int n_nan = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const float value = E4m3ToF32(static_cast<uint8_t>(byte));
    if (std::isnan(value)) {
      ++n_nan;
      continue;
    }
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    const float want = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                     : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    EXPECT_EQ(value, byte < 128 ? want : -want) << byte;
  }
  EXPECT_EQ(n_nan, 2);
}

TEST(Fp8, BeyondF16OrWithoutScaleIsRefused) {
  const TempFolder folder;
  Weights weights;
  weights.Add("m.weight", "F8_E4M3", {1, 1}, std::vector<uint8_t>{0x7E});
  const std::string fp8 = R"({"quant_method":"fp8"})";
  EXPECT_NE(ErrorOf([&] { Open(folder, fp8, weights); }).find("m.weight_scale: expected the scale"),
            std::string::npos);
  weights.Add("m.weight_scale", "F32", {1}, std::vector<float>{1000});
  const auto checkpoint = Open(folder, fp8, weights);
  EXPECT_NE(ErrorOf([&] { checkpoint->Find("m.weight"); }).find("F16's range"), std::string::npos);
  Weights shape;
  shape.Add("m.weight", "F8_E4M3", {2, 2}, std::vector<uint8_t>(4, 0x38));
  shape.Add("m.weight_scale", "F32", {3}, std::vector<float>(3, 1));
  EXPECT_NE(ErrorOf([&] { Open(folder, fp8, shape); }).find("scale shape: expected one scale"),
            std::string::npos);
}

TEST(QuantizationConfig, OthersAreRefusedByName) {
  const std::pair<const char*, const char*> refused[] = {
      {R"({"quant_method":"bitsandbytes"})", "bitsandbytes"},
      {R"({"quant_method":"aqlm"})", "aqlm"},
      {R"({"quant_method":"gptq","bits":8,"group_size":32})", "$.bits: expected 4, found 8"},
      {R"({"quant_method":"gptq","bits":4,"group_size":32,"checkpoint_format":"marlin"})",
       "marlin"},
      {R"({"quant_method":"gptq","bits":4,"group_size":32,"is_marlin_format":true})", "is_marlin"},
      {R"({"quant_method":"gptq","bits":4,"group_size":32,"dynamic":{"a":{}}})", "dynamic"},
      {R"({"quant_method":"gptq","bits":4,"group_size":0})", "group_size"},
      {R"({"quant_method":"awq","bits":4,"group_size":32,"version":"gemv"})", "gemv"},
      {R"({"quant_method":"fp8","fmt":"e5m2"})", "e5m2"},
      {R"({"quant_method":"fp8","weight_block_size":[128]})", "weight_block_size"},
      {R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{}})",
       "pack-quantized"},
      {R"({"quant_method":"compressed-tensors","config_groups":
          {"g":{"weights":{"num_bits":8,"type":"int"}}}})",
       "8-bit floats"},
  };
  for (const auto& [text, part] : refused) {
    const std::string error =
        ErrorOf([&, json = text] { ParseQuantizationConfig(Json::Parse(json, "config.json")); });
    EXPECT_TRUE(error.starts_with("unsupported: ")) << error;
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
  const auto fp8 = ParseQuantizationConfig(Json::Parse(
      R"({"quant_method":"compressed-tensors","format":"float-quantized","config_groups":
         {"g":{"weights":{"num_bits":8,"type":"float","strategy":"channel"}}}})",
      "c"));
  EXPECT_EQ(fp8.method, QuantMethod::kFp8);
}

TEST(Packed4, BrokenPartsAreNamed) {
  const TempFolder folder;
  const std::string gptq = R"({"quant_method":"gptq","bits":4,"group_size":32,"desc_act":true})";
  const auto error = [&](const Weights& weights) {
    return ErrorOf([&] { Open(folder, gptq, weights); });
  };
  const std::vector<uint32_t> words(32, 0);
  const std::vector<uint32_t> zeros(1, 0);
  const auto base = [&] { return Weights().Add("m.qweight", "I32", {4, 8}, words); };
  EXPECT_NE(error(base()).find("tensor m.qzeros: expected beside its qweight, found none"),
            std::string::npos);
  EXPECT_NE(error(base().Add("m.qzeros", "I32", {1, 1}, zeros)).find("m.scales"),
            std::string::npos);
  const auto whole = [&] {
    return base().Add("m.qzeros", "I32", {1, 1}, zeros).Add("m.scales", "F16", {1, 8}, kEightOnes);
  };
  EXPECT_EQ(error(whole()), "");
  EXPECT_NE(error(whole().Add("m.g_idx", "I32", {32}, std::vector<int32_t>(32, 1)))
                .find("expected groups of 0..0, found 1"),
            std::string::npos);
  EXPECT_NE(error(whole().Add("m.g_idx", "I32", {31}, std::vector<int32_t>(31, 0)))
                .find("expected I32 [32]"),
            std::string::npos);
  EXPECT_NE(
      error(base().Add("m.qzeros", "I32", {1, 1}, zeros).Add("m.scales", "F16", {2, 4}, kEightOnes))
          .find("tensor shape: expected [1, 8], found [2, 4]"),
      std::string::npos);
  EXPECT_NE(error(whole().Add("m.weight", "F16", {1}, std::vector<uint16_t>{0}))
                .find("expected once, found again"),
            std::string::npos);
  Weights odd;
  odd.Add("m.qweight", "I32", {1, 4}, std::vector<uint32_t>(4, 0));
  EXPECT_NE(error(odd).find("expected multiples of 8, found [4, 8]"), std::string::npos);
}

}  // namespace
}  // namespace mixtral
