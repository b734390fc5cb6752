// SPDX-License-Identifier: Apache-2.0
// Memory limits on made-up files of both versions of control groups.
#include "base/memory_limit.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace mixtral {
namespace {

class MemoryLimitTest : public testing::Test {
 protected:
  void SetUp() override {
    mount_ = (std::filesystem::temp_directory_path() / "mixtral-base-XXXXXX").string();
    ASSERT_NE(mkdtemp(mount_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(mount_); }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string mount_;
};

TEST(MemoryInfo, KibibytesOfTheTwoLinesThatCount) {
  const MemoryLimits limits = ParseMemoryInfo(
      "MemTotal:       24000 kB\nMemFree:         1 kB\nMemAvailable:   20000 kB\nBuffers: 3 kB\n");
  EXPECT_EQ(limits.total, 24000u * 1024);
  EXPECT_EQ(limits.available, 20000u * 1024);
  EXPECT_FALSE(limits.group_left.has_value());
  EXPECT_EQ(ParseMemoryInfo("").available, 0u);
  EXPECT_EQ(ParseMemoryInfo("MemAvailable:\nMemAvailable: x kB\n").available, 0u);
}

TEST(MemoryInfo, LeftIsTheSmallerOne) {
  MemoryLimits limits;
  limits.available = 10;
  EXPECT_EQ(limits.Left(), 10u);
  limits.group_left = 7;
  EXPECT_EQ(limits.Left(), 7u);
  limits.group_left = 70;
  EXPECT_EQ(limits.Left(), 10u);
}

TEST(MemoryInfo, ThisMachineHasMemory) {
  const MemoryLimits limits = ReadMemoryLimits();
  EXPECT_GT(limits.available, 0u);
  EXPECT_LT(limits.available, limits.total);
}

TEST_F(MemoryLimitTest, NoFilesNoLimit) {
  EXPECT_FALSE(CgroupMemoryLeft("", mount_).has_value());
  EXPECT_FALSE(CgroupMemoryLeft("0::/a/b\n", mount_).has_value());
}

TEST_F(MemoryLimitTest, V2LimitLessUseWithoutFilePages) {
  Write("a/memory.max", "1000000\n");
  EXPECT_EQ(CgroupMemoryLeft("0::/a\n", mount_), 1000000u);
  Write("a/memory.current", "600000\n");
  EXPECT_EQ(CgroupMemoryLeft("0::/a\n", mount_), 400000u);
  Write("a/memory.stat", "anon 1\nactive_file 100000\ninactive_file 400000\n");
  EXPECT_EQ(CgroupMemoryLeft("0::/a\n", mount_), 900000u);
  Write("a/memory.max", "max\n");
  EXPECT_FALSE(CgroupMemoryLeft("0::/a\n", mount_).has_value());
}

TEST_F(MemoryLimitTest, TheTightestGroupOnTheWayUpCounts) {
  Write("a/memory.max", "5000\n");
  Write("a/b/memory.max", "90000\n");
  EXPECT_EQ(CgroupMemoryLeft("0::/a/b\n", mount_), 5000u);
  Write("a/memory.current", "6000\n");  // over its limit: nothing left, which is not "no limit"
  EXPECT_EQ(CgroupMemoryLeft("0::/a/b\n", mount_), 1u);
}

TEST_F(MemoryLimitTest, V1) {
  Write("memory/a/memory.limit_in_bytes", "3000\n");
  Write("memory/a/memory.usage_in_bytes", "1000\n");
  EXPECT_EQ(CgroupMemoryLeft("5:memory:/a\n4:cpu:/x\n", mount_), 2000u);
  Write("memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(CgroupMemoryLeft("5:memory:/a\n", mount_).has_value());
}

}  // namespace
}  // namespace mixtral
