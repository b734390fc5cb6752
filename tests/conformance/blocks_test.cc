// SPDX-License-Identifier: Apache-2.0
// Random blocks of the fixtures: every ISA decodes them to the given values, bit for bit, and the
// product values @ x comes out of gemv in exact and in fast arithmetic.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr int kRows = 6, kCols = 512;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// The bytes of one tensor of a safetensors file. Enough for files of ours: the library's own
/// parser does not know the type U8.
std::string TensorBytes(const std::string& file, const std::string& name) {
  const auto header_bytes = LoadUnaligned<uint64_t>(file.data());
  const std::string header = file.substr(8, header_bytes);
  size_t at = header.find("\"" + name + "\"");
  at = header.find("data_offsets", at);
  at = header.find('[', at) + 1;
  const size_t begin = std::stoul(header.substr(at));
  const size_t end = std::stoul(header.substr(header.find(',', at) + 1));
  return file.substr(8 + header_bytes + begin, end - begin);
}
std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

struct Param {
  DType dtype;
  const char* file;
};

class FixtureBlocks : public ::testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    const char* shared = std::getenv("MIXTRAL_SHARED");
    const std::string path = std::string(shared != nullptr ? shared : "../shared") +
                             "/fixtures/blocks/" + GetParam().file;
    const std::string file = ReadFile(path);
    if (file.empty()) GTEST_SKIP() << "no file " << path << " (set MIXTRAL_SHARED)";
    blocks_ = TensorBytes(file, "blocks");
    values_ = Floats(TensorBytes(file, "values"));
    x_ = Floats(TensorBytes(file, "x"));
    y_ = Floats(TensorBytes(file, "y"));
    row_bytes_ = RowBytes(GetParam().dtype, kCols);
    ASSERT_EQ(blocks_.size(), kRows * row_bytes_);
    ASSERT_EQ(values_.size(), static_cast<size_t>(kRows * kCols));
    ASSERT_EQ(x_.size(), static_cast<size_t>(kCols));
    ASSERT_EQ(y_.size(), static_cast<size_t>(kRows));
  }
  std::vector<kernels::Isa> Isas() const {
    std::vector<kernels::Isa> isas = {kernels::Isa::kScalar};
    if (kernels::HostIsa() >= kernels::Isa::kAvx2) isas.push_back(kernels::Isa::kAvx2);
    return isas;
  }
  /// gemv of all rows; error relative to sum |value * x|, the largest of the rows.
  double RelativeError(kernels::Isa isa, kernels::Compute compute) const {
    const kernels::KernelTable table = kernels::BuildTable(isa);
    const kernels::MatrixSlots& slots = table.Matrix(compute, GetParam().dtype);
    std::vector<float> storage(4096);
    void* act = storage.data();
    size_t space = storage.size() * 4;
    std::align(64, 8192, act, space);
    slots.quantize_rows.fn({x_.data(), kCols, act, 1, kCols});
    float out[kRows];
    slots.gemv_rows.fn({blocks_.data(), row_bytes_, kRows, kCols, act, out});
    double worst = 0;
    for (size_t r = 0; r < kRows; ++r) {
      double magnitude = 0;
      for (size_t i = 0; i < kCols; ++i) magnitude += std::fabs(values_[r * kCols + i] * x_[i]);
      worst = std::max(worst, std::fabs(out[r] - y_[r]) / magnitude);
    }
    return worst;
  }

  std::string blocks_;                 // kRows file rows
  std::vector<float> values_, x_, y_;  // [kRows, kCols], [kCols], [kRows]
  size_t row_bytes_ = 0;
};

TEST_P(FixtureBlocks, DecodeToTheVeryBits) {
  for (const kernels::Isa isa : Isas()) {
    const kernels::KernelTable table = kernels::BuildTable(isa);
    for (size_t r = 0; r < kRows; ++r) {
      std::vector<float> out(kCols);
      table.to_f32[Index(GetParam().dtype)].fn(blocks_.data() + r * row_bytes_, kCols, out.data());
      EXPECT_EQ(std::memcmp(out.data(), values_.data() + r * kCols, kCols * 4), 0)
          << "row " << r << " " << kernels::IsaName(isa);
    }
  }
}

TEST_P(FixtureBlocks, ProductsAgree) {
  for (const kernels::Isa isa : Isas()) {
    EXPECT_LT(RelativeError(isa, kernels::Compute::kExact), 2e-6) << kernels::IsaName(isa);
    EXPECT_LT(RelativeError(isa, kernels::Compute::kFast), 5e-3) << kernels::IsaName(isa);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FixtureBlocks,
                         ::testing::Values(Param{DType::kQ8_0, "q8_0.safetensors"},
                                           Param{DType::kQ4_0, "q4_0.safetensors"},
                                           Param{DType::kQ4_1, "q4_1.safetensors"},
                                           Param{DType::kQ5_0, "q5_0.safetensors"},
                                           Param{DType::kQ5_1, "q5_1.safetensors"},
                                           Param{DType::kQ2_K, "q2_k.safetensors"},
                                           Param{DType::kQ3_K, "q3_k.safetensors"},
                                           Param{DType::kQ4_K, "q4_k.safetensors"},
                                           Param{DType::kQ5_K, "q5_k.safetensors"},
                                           Param{DType::kQ6_K, "q6_k.safetensors"}),
                         [](const auto& param) { return std::string(Name(param.param.dtype)); });

}  // namespace
}  // namespace mixtral
