// SPDX-License-Identifier: Apache-2.0
// Suggestions for mistyped files and folders.
#include "base/nearest_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace mixtral {
namespace {

namespace fs = std::filesystem;

TEST(NearestPathHint, NamesTheNearestEntry) {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("nearest_path_test_" + std::to_string(getpid()));
  fs::create_directories(folder / "models");
  std::ofstream(folder / "models" / "tiny-q8_0.gguf") << "x";
  std::ofstream(folder / "models" / "other.txt") << "x";
  const auto hint = [&](const std::string& path) { return NearestPathHint(folder / path); };
  const std::string there = (folder / "models" / "tiny-q8_0.gguf").string();
  EXPECT_EQ(hint("models/tiny-q8_0.guf"), "; did you mean '" + there + "'?");
  EXPECT_EQ(hint("models/tiny_q8-0.gguf"), "; did you mean '" + there + "'?");
  EXPECT_EQ(hint("modles/tiny-q8_0.gguf"),
            "; did you mean '" + (folder / "models").string() + "'?");
  EXPECT_EQ(hint("models/something-else"), "");
  EXPECT_EQ(hint("models/tiny-q8_0.gguf"), "") << "it is there";
  EXPECT_EQ(hint("models/tiny-q8_0.gguf/x"), "");
  EXPECT_EQ(NearestPathHint(""), "");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace mixtral
