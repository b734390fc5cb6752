// SPDX-License-Identifier: Apache-2.0
// The oracle itself against results that another program computed: what is compared with the
// reference model is thereby compared with the fixtures.
#include <gtest/gtest.h>

#include <string>

#include "model/loader.h"
#include "reference/reference_model.h"
#include "support/golden.h"
#include "support/harness.h"

namespace mixtral::testing {
namespace {

void CheckFile(const std::string& folder, const std::string& variant_name,
               const std::string& file) {
  SCOPED_TRACE(file);
  const std::unique_ptr<Checkpoint> checkpoint = OpenCheckpoint(folder + "/" + file);
  const ReferenceModel model(*checkpoint, ReadConfig(*checkpoint).config);
  int n_prompts = 0;
  for (const GoldenVariant& variant : LoadGoldens(folder)) {
    if (variant.name != variant_name) continue;
    for (const GoldenPrompt& prompt : variant.prompts) {
      if (prompt.tokens.size() > 40) continue;  // plain loops are slow
      const ReferenceOutput found = model.Forward(prompt.tokens);
      EXPECT_LT(MaxAbsDifference(variant.Floats(prompt, "logits"), found.logits), 1e-4);
      EXPECT_LT(MaxAbsDifference(variant.Floats(prompt, "router_logits"), found.router_logits),
                1e-4);
      EXPECT_EQ(variant.Ints(prompt, "expert_ids"), found.expert_ids);
      EXPECT_LT(MaxAbsDifference(variant.Floats(prompt, "expert_weights"), found.expert_weights),
                1e-4);
      ++n_prompts;
    }
  }
  EXPECT_GE(n_prompts, 2);
}

TEST(ReferenceVsGoldens, Agrees) {
  if (FixturesFolder().empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string folder = FixturesFolder();
  for (const char* file : {"hf-f32", "native-bf16", "gguf/tiny-f16.gguf"})
    CheckFile(folder + "/tiny-mixtral", "exact", file);
  CheckFile(folder + "/tiny-mixtral", "q8_0", "gguf/tiny-q8_0.gguf");
  CheckFile(folder + "/tiny-mixtral", "q4_0", "gguf/tiny-q4_0.gguf");
  for (const std::string mixture : {"q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k"})
    CheckFile(folder + "/small-mixtral", mixture, "gguf/small-mixtral-" + mixture + ".gguf");
  CheckFile(folder + "/tied-mixtral", "exact", "hf-f32");
  CheckFile(folder + "/dense-mistral", "exact", "native-bf16");
}

}  // namespace
}  // namespace mixtral::testing
