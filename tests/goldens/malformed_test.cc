// SPDX-License-Identifier: Apache-2.0
// The broken checkpoints of the fixtures: each is refused with one line that names the file,
// without allocating what a false size claims; the controls load and write the expected tokens.
// Broken tokenizers and texts are the business of src/text.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/golden.h"
#include "support/harness.h"

namespace mixtral::testing {
namespace {

int64_t PeakKilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void ExpectGreedy(const Json& control, const std::string& path) {
  const auto ints = [&control](const char* key) {
    const std::vector<int64_t> values = control.At(key).AsIntArray();
    return std::vector<int32_t>(values.begin(), values.end());
  };
  const std::vector<int32_t> greedy = ints("greedy");
  Harness harness(path, {.n_positions = 64});
  EXPECT_EQ(harness.Greedy(ints("ids"), static_cast<int>(greedy.size())), greedy);
}

void ExpectRefusal(const std::string& path) {
  const int64_t before = PeakKilobytes();
  try {
    Harness harness(path, {.n_positions = 64});
    ADD_FAILURE() << path << " was loaded";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_NE(message.find(path), std::string::npos) << message;
    EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported ||
                error.code() == ErrorCode::kNotFound)
        << message;
    std::printf("  %s\n", message.c_str());
  }
  EXPECT_LT(PeakKilobytes() - before, 64 * 1024) << "memory grew";
}

TEST(Malformed, BrokenCheckpointsAreRefusedAndControlsRun) {
  if (FixturesFolder().empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string folder = FixturesFolder() + "/malformed/";
  const Json cases = Json::Parse(ReadTextFile(folder + "index.json"), "index.json").At("cases");
  int n_errors = 0, n_controls = 0;
  for (size_t i = 0; i < cases.Size(); ++i) {
    const Json entry = cases.At(i);
    const std::string kind = entry.At("kind").AsString();
    if (kind != "hf" && kind != "native" && kind != "gguf") continue;
    SCOPED_TRACE(entry.At("name").AsString() + ": " + entry.At("defect").AsString());
    const std::string path = folder + entry.At("path").AsString();
    if (entry.At("expect").AsString() == "ok") {
      ++n_controls;
      ExpectGreedy(entry, path);
    } else {
      ++n_errors;
      ExpectRefusal(path);
    }
  }
  EXPECT_EQ(n_controls, 3);
  EXPECT_GE(n_errors, 26);
}

}  // namespace
}  // namespace mixtral::testing
