// SPDX-License-Identifier: Apache-2.0
// The named shapes against the parameter counts that were published for them.
#include "spec/presets.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mixtral {
namespace {

TEST(Presets, ParameterCountsAreThePublishedOnes) {
  EXPECT_EQ(PresetConfig("mixtral-8x7b").TotalParameters(), 46702792704);
  EXPECT_EQ(PresetConfig("mixtral-8x7b").ActiveParameters(), 12879925248);
  EXPECT_EQ(PresetConfig("mixtral-8x22b").TotalParameters(), 140630071296);
  EXPECT_EQ(PresetConfig("mistral-7b").TotalParameters(), 7241732096);
  EXPECT_EQ(PresetConfig("llama-2-70b").TotalParameters(), 68976648192);
}

TEST(Presets, EveryOneIsValidAndHasRowsOfWholeKBlocks) {
  for (const std::string_view name : PresetNames()) {
    const ModelConfig config = PresetConfig(name);
    EXPECT_NO_THROW(config.Validate()) << name;
    EXPECT_EQ(config.dim % 256, 0) << name;
    EXPECT_EQ(config.ffn_dim % 256, 0) << name;
  }
  EXPECT_THROW(PresetConfig("mixtral-9x7b"), Error);
}

}  // namespace
}  // namespace mixtral
