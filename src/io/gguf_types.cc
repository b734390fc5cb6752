// SPDX-License-Identifier: Apache-2.0
// Table of ggml type ids (gguf_types.h). Ids 4, 5, 31..33 and 36..38 were given to types that ggml
// removed again; they keep their names here, so that an old file is refused by name.
#include "io/gguf_types.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/error.h"

namespace mixtral {
namespace {

constexpr std::array<std::string_view, 40> kGgmlNames = {
    "F32",   "F16",        "Q4_0",       "Q4_1",       "Q4_2",     "Q4_3",     "Q5_0",
    "Q5_1",  "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",     "Q4_K",     "Q5_K",
    "Q6_K",  "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "IQ4_NL",
    "IQ3_S", "IQ2_S",      "IQ4_XS",     "I8",         "I16",      "I32",      "I64",
    "F64",   "IQ1_M",      "BF16",       "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
    "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4"};

/// "F32, F16, ... or I32"
std::string Supported() {
  std::string list;
  for (size_t i = 0; i < kDTypeInfo.size(); ++i) {
    if (i > 0) list += i + 1 == kDTypeInfo.size() ? " or " : ", ";
    list += kDTypeInfo[i].name;
  }
  return list;
}

}  // namespace

DType DTypeFromGgml(uint32_t id) {
  if (id >= kGgmlNames.size())
    Throw(ErrorCode::kUnsupported, "tensor type: expected {}, found the unknown type id {}",
          Supported(), id);
  const std::string_view name = kGgmlNames[id];
  for (size_t i = 0; i < kDTypeInfo.size(); ++i)
    if (kDTypeInfo[i].name == name) return static_cast<DType>(i);
  Throw(ErrorCode::kUnsupported, "tensor type: {} is not supported yet, expected {}", name,
        Supported());
}

uint32_t GgmlFromDType(DType dtype) {
  const auto* it = std::find(kGgmlNames.begin(), kGgmlNames.end(), Name(dtype));
  Check(it != kGgmlNames.end(), "every DType is a ggml type");
  return static_cast<uint32_t>(it - kGgmlNames.begin());
}

}  // namespace mixtral
