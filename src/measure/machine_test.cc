// SPDX-License-Identifier: Apache-2.0
// The machine's description from made-up files, and ceilings that are speeds.
#include "measure/machine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "measure/ceilings.h"

namespace mixtral {
namespace {

TEST(Machine, CpuName) {
  EXPECT_EQ(CpuName("processor : 0\nmodel name\t: AMD EPYC 7571\nmodel name : other\n"),
            "AMD EPYC 7571");
  EXPECT_EQ(CpuName("processor : 0\n"), "unknown");
  EXPECT_EQ(CpuName("model name\n"), "unknown");
}

TEST(Machine, CachesAreCountedOnce) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("machine_test_" + std::to_string(getpid()));
  std::filesystem::remove_all(folder);
  const auto write = [&](int cpu, const std::string& size, const std::string& shared) {
    const auto cache = folder / ("cpu" + std::to_string(cpu)) / "cache" / "index3";
    std::filesystem::create_directories(cache);
    std::ofstream(cache / "size") << size << "\n";
    std::ofstream(cache / "shared_cpu_list") << shared << "\n";
  };
  EXPECT_EQ(TotalL3Bytes(folder.string()), 0u);
  write(0, "8192K", "0-1");
  write(1, "8192K", "0-1");
  EXPECT_EQ(TotalL3Bytes(folder.string()), 8u << 20);
  write(2, "16M", "2-3");
  EXPECT_EQ(TotalL3Bytes(folder.string()), 24u << 20);
  std::filesystem::remove_all(folder);
}

TEST(Ceilings, MoreThanFourTimesTheCaches) {
  EXPECT_GT(UncachedBytes(uint64_t{100} << 20), size_t{400} << 20);
  EXPECT_EQ(UncachedBytes(0), size_t{64} << 20);
}

TEST(Ceilings, AreSpeeds) {
  const kernels::KernelTable table = kernels::BuildTable(kernels::HostIsa());
  ThreadPool pool(2);
  ReadProbe probe(nullptr, size_t{3} << 20);
  EXPECT_EQ(probe.size(), size_t{3} << 20);
  EXPECT_GT(probe.BytesPerSecond(pool, table.read_words.fn, 0), 1e6);
  EXPECT_GT(OpsPerSecond(pool, table.peaks[0].fn, 0.001), 1e6);
}

}  // namespace
}  // namespace mixtral
