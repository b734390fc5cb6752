// SPDX-License-Identifier: Apache-2.0
// Tests of the control group quota on made-up trees of both versions.
#include "base/cpu_limit.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace mixtral {
namespace {

class CpuLimitTest : public testing::Test {
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

TEST_F(CpuLimitTest, NoFilesNoLimit) {
  EXPECT_EQ(CgroupCpuLimit("", mount_), 0);
  EXPECT_EQ(CgroupCpuLimit("0::/a/b\n", mount_), 0);
  EXPECT_EQ(CgroupCpuLimit("nonsense\n::\n3", mount_), 0);
}

TEST_F(CpuLimitTest, V2RoundsUpAndKnowsMax) {
  Write("a/cpu.max", "250000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a\n", mount_), 3);
  Write("a/cpu.max", "200000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a\n", mount_), 2);
  Write("a/cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a\n", mount_), 0);
}

TEST_F(CpuLimitTest, V2TakesTheSmallestOnTheWayUp) {
  Write("a/cpu.max", "100000 100000\n");
  Write("a/b/cpu.max", "800000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a/b\n", mount_), 1);
}

TEST_F(CpuLimitTest, RootCountsWhereTheGroupIsNotVisible) {
  Write("cpu.max", "400000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/somewhere/outside\n", mount_), 4);
  EXPECT_EQ(CgroupCpuLimit("0::/\n", mount_), 4);
}

TEST_F(CpuLimitTest, V1ReadsQuotaAndPeriod) {
  Write("cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n");
  Write("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  Write("memory/a/cpu.cfs_quota_us", "1\n");  // not the group that counts
  Write("memory/a/cpu.cfs_period_us", "100000\n");
  const std::string membership = "5:memory:/a\n4:cpu,cpuacct:/a\n1:cpuset:/\n";
  EXPECT_EQ(CgroupCpuLimit(membership, mount_), 2);
  Write("cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(CgroupCpuLimit(membership, mount_), 0);
}

TEST_F(CpuLimitTest, NonsenseIsNoLimit) {
  for (const std::string text :
       {"", "x", "0 0", "100000 0", "-5 100000", "99999999999999999999 1"}) {
    Write("cpu.max", text);
    EXPECT_EQ(CgroupCpuLimit("0::/\n", mount_), 0) << text;
  }
}

}  // namespace
}  // namespace mixtral
