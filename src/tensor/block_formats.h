// SPDX-License-Identifier: Apache-2.0
// The list of all block formats, for code that runs over them: installing kernels, decoding by
// DType, making random blocks. A new format is a line here, in dtype.h and in the kernels.
#pragma once

#include <array>

#include "tensor/block_iq4_nl.h"
#include "tensor/block_iq4_xs.h"
#include "tensor/block_q2_k.h"
#include "tensor/block_q3_k.h"
#include "tensor/block_q4_0.h"
#include "tensor/block_q4_1.h"
#include "tensor/block_q4_k.h"
#include "tensor/block_q5_0.h"
#include "tensor/block_q5_1.h"
#include "tensor/block_q5_k.h"
#include "tensor/block_q6_k.h"
#include "tensor/block_q8_0.h"

namespace mixtral {

template <class... Blocks>
struct BlockList {};
using AllBlocks = BlockList<BlockQ8_0, BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ2K,
                            BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K, BlockIQ4NL, BlockIQ4XS>;

/// What is known of a format at run time.
struct BlockFormat {
  void (*dequantize)(const void* row, int64_t n, float* out) noexcept = nullptr;
  int d_at = 0;   // byte of the block where its f16 d is
  int m_at = -1;  // that of its f16 dmin or m; -1: none
};

/// By DType; dequantize is nullptr for the types that have no blocks.
inline constexpr std::array<BlockFormat, kNumDTypes> kBlockFormats = []<class... Blocks>(
                                                                         BlockList<Blocks...>) {
  std::array<BlockFormat, kNumDTypes> formats = {};
  ((formats[Index(Blocks::kDType)] = {&DequantizeRow<Blocks>, static_cast<int>(offsetof(Blocks, d)),
                                      Blocks::kMinimums ? static_cast<int>(offsetof(Blocks, d)) + 2
                                                        : -1}),
   ...);
  return formats;
}(AllBlocks{});

}  // namespace mixtral
