// SPDX-License-Identifier: Apache-2.0
// OpenOptions: weights read into memory or locked, told as they come, and refused where they do not
// fit.
#include <gtest/gtest.h>

#include "base/error.h"
#include "io/checkpoint.h"
#include "io/test_images.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::SafetensorsImage;
using test::TempFolder;

constexpr const char* kIndex = R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})";

test::Image Tensor(std::string_view name, uint64_t claimed, size_t n_bytes) {
  return SafetensorsImage(
      fmt::format(R"({{"{}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}})", name,
                  claimed / 4, claimed),
      n_bytes);
}

struct Folder : TempFolder {
  Folder() {
    Write("config.json", "{}");
    Write("model.safetensors.index.json", kIndex);
    Write("one.safetensors", Tensor("a", 40'000, 40'000));
    Write("two.safetensors", Tensor("b", 8, 8));
  }
};

TEST(HoldWeights, ReadsEveryFileAndSaysHowFarItIs) {
  const Folder folder;
  std::vector<uint64_t> dones;
  uint64_t last_total = 0;
  const auto checkpoint = OpenCheckpoint(
      folder.path(),
      {.memory = WeightMemory::kRead, .on_progress = [&](uint64_t done, uint64_t total) {
         dones.push_back(done);
         last_total = total;
       }});
  ASSERT_EQ(dones.size(), 2u);
  EXPECT_EQ(dones.back(), checkpoint->FileBytes());
  EXPECT_EQ(last_total, checkpoint->FileBytes());
  // The files may change and go: what was read stays.
  const auto mapped = OpenCheckpoint(folder.path());
  const std::vector<std::byte> before(mapped->Find("a")->bytes.begin(),
                                      mapped->Find("a")->bytes.end());
  std::filesystem::resize_file(folder.In("one.safetensors"), 0);
  const auto after = checkpoint->Find("a")->bytes;
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin(), after.end()));
}

TEST(HoldWeights, RefusesMoreThanThereIs) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  constexpr uint64_t kHuge = uint64_t{1} << 43;  // 8.8 TB that no disk block holds
  const test::Image image = Tensor("a", kHuge, 0);
  const std::string path = folder.Write("model.safetensors", image);
  std::error_code error;
  std::filesystem::resize_file(path, image.size() + kHuge, error);
  if (error) GTEST_SKIP() << "no file of 8.8 TB can be made here: " << error.message();
  EXPECT_EQ(OpenCheckpoint(folder.path())->Find("a")->bytes.size(), kHuge);
  for (const OpenOptions& options :
       {OpenOptions{.memory = WeightMemory::kRead}, OpenOptions{.lock = LockMemory::kYes}}) {
    const std::string message = ErrorOf([&] { OpenCheckpoint(folder.path(), options); });
    EXPECT_NE(message.find("memory for the weights: expected 8.80 TB, found "), std::string::npos)
        << message;
    EXPECT_NE(message.find("in " + folder.path()), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace mixtral
