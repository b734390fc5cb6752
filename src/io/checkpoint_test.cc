// SPDX-License-Identifier: Apache-2.0
// OpenCheckpoint on folders and files made here: what is taken, what is refused and in which words.
#include "io/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/sniff.h"
#include "io/test_images.h"
#include "io/test_torch.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::GgufImage;
using test::Image;
using test::SafetensorsImage;
using test::TempFolder;

/// One F32 tensor [2] of this name.
Image OneTensor(std::string_view name) {
  return SafetensorsImage(
      fmt::format(R"({{"{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}})", name), 8);
}

std::string OpenError(const std::string& path) {
  return ErrorOf([&] { OpenCheckpoint(path); });
}

void ExpectError(const std::string& path, std::string_view message) {
  const std::string error = OpenError(path);
  EXPECT_NE(error.find(message), std::string::npos) << message << "\n  gave: " << error;
}

TEST(CheckpointTest, OpensAHuggingFaceFolder) {
  const TempFolder folder;
  folder.Write("config.json", R"({"model_type":"mixtral"})");
  const std::string weights = folder.Write("model.safetensors", OneTensor("w"));
  folder.Write("generation_config.json", R"({"eos_token_id":2})");
  folder.Write("tokenizer.model", "SPM");
  EXPECT_EQ(OpenCheckpoint(folder.path())->tokenizer_json(), std::nullopt);
  folder.Write("tokenizer.json", "{ }");
  folder.Write("tokenizer_config.json", R"({"chat_template":"{{ messages }}"})");
  const auto checkpoint = OpenCheckpoint(folder.path());
  EXPECT_EQ(checkpoint->kind(), CheckpointKind::kHuggingFace);
  EXPECT_EQ(checkpoint->path(), folder.path());
  EXPECT_EQ(checkpoint->config_path(), folder.In("config.json"));
  EXPECT_EQ(checkpoint->Names(), std::vector<std::string>{"w"});
  ASSERT_NE(checkpoint->Find("w"), nullptr);
  EXPECT_EQ(checkpoint->Find("w")->bytes.size(), 8u);
  EXPECT_EQ(checkpoint->Find("v"), nullptr);
  EXPECT_EQ(checkpoint->Where("w"), weights + ":w");
  EXPECT_EQ(checkpoint->Where("v"), folder.path() + ":v");
  EXPECT_EQ(checkpoint->config().At("model_type").AsString(), "mixtral");
  EXPECT_EQ(checkpoint->generation_config()->At("eos_token_id").AsInt(), 2);
  EXPECT_EQ(checkpoint->sentencepiece_model(), "SPM");
  EXPECT_EQ(checkpoint->tokenizer_json(), "{ }") << "as it is, unread";
  EXPECT_EQ(checkpoint->chat_template(), "{{ messages }}");
  EXPECT_EQ(checkpoint->gguf_vocabulary(), nullptr);
  EXPECT_EQ(checkpoint->FileBytes(), std::filesystem::file_size(weights));
  EXPECT_EQ(OpenCheckpoint(weights)->kind(), CheckpointKind::kHuggingFace);
}

TEST(CheckpointTest, ReadsEveryFormOfChatTemplate) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("model.safetensors", OneTensor("w"));
  const auto checkpoint = OpenCheckpoint(folder.path());
  EXPECT_EQ(checkpoint->chat_template(), std::nullopt);
  EXPECT_FALSE(checkpoint->generation_config());
  EXPECT_EQ(checkpoint->sentencepiece_model(), std::nullopt);
  folder.Write("tokenizer_config.json", R"({"chat_template":null})");
  EXPECT_EQ(checkpoint->chat_template(), std::nullopt);
  folder.Write("tokenizer_config.json", R"({"chat_template":[{"name":"rag","template":"R"},
                                           {"name":"default","template":"D"}]})");
  EXPECT_EQ(checkpoint->chat_template(), "D");
  folder.Write("tokenizer_config.json", R"({"chat_template":3})");
  const std::string error = ErrorOf([&] { checkpoint->chat_template(); });
  EXPECT_NE(error.find("$.chat_template: expected a string"), std::string::npos) << error;
  EXPECT_NE(error.find(folder.In("tokenizer_config.json")), std::string::npos) << error;
  folder.Write("chat_template.jinja", "J");
  EXPECT_EQ(checkpoint->chat_template(), "J");
}

TEST(CheckpointTest, OpensAMistralFolderAndPrefersHuggingFace) {
  const TempFolder folder;
  folder.Write("params.json", R"({"dim":2})");
  const std::string native = folder.Write("consolidated.safetensors", OneTensor("native"));
  folder.Write("tokenizer.model.v3", "SPM3");
  folder.Write("tokenizer.json", "{}");
  auto checkpoint = OpenCheckpoint(folder.path());
  EXPECT_EQ(checkpoint->kind(), CheckpointKind::kMistral);
  EXPECT_EQ(checkpoint->config_path(), folder.In("params.json"));
  EXPECT_EQ(checkpoint->sentencepiece_model(), "SPM3");
  EXPECT_EQ(checkpoint->tokenizer_json(), std::nullopt) << "Hugging Face's file";
  folder.Write("config.json", "{}");
  folder.Write("model.safetensors", OneTensor("hf"));
  EXPECT_EQ(OpenCheckpoint(folder.path())->kind(), CheckpointKind::kHuggingFace);
  EXPECT_EQ(OpenCheckpoint(native)->kind(), CheckpointKind::kMistral) << "asked for by name";
}

std::string TorchText(std::string_view tensor) {
  return test::TorchImage({{std::string(tensor), "FloatStorage", {2}, "12345678"}});
}

TEST(CheckpointTest, OpensPyTorchFilesOfAMistralFolder) {
  const TempFolder folder;
  folder.Write("params.json", R"({"dim":2})");
  const std::string first = folder.Write("consolidated.00.pth", TorchText("a"));
  EXPECT_EQ(OpenCheckpoint(folder.path())->Names(), std::vector<std::string>{"a"});
  folder.Write("consolidated.02.pth", TorchText("c"));
  ExpectError(folder.path(), "weights: expected " + folder.In("consolidated.01.pth") + ", since " +
                                 folder.In("consolidated.02.pth") + " is there, found no such");
  const std::string second = folder.Write("consolidated.01.pth", TorchText("b"));
  const auto checkpoint = OpenCheckpoint(second);
  EXPECT_EQ(checkpoint->kind(), CheckpointKind::kMistral);
  EXPECT_EQ(checkpoint->format(), "Mistral PyTorch (consolidated.NN.pt)");
  EXPECT_EQ(checkpoint->Names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(checkpoint->Where("b"), second + ":b");
  folder.Write("consolidated.02.pth", TorchText("a"));
  ExpectError(folder.path(), "tensor name: expected once, found again, in " +
                                 folder.In("consolidated.02.pth") + ":a");
  folder.Write("consolidated.safetensors", OneTensor("native"));
  EXPECT_EQ(OpenCheckpoint(folder.path())->Names(), std::vector<std::string>{"native"});
  ExpectError(first, "which is not one of them");
}

TEST(CheckpointTest, UnpacksTheExpertsOfTheFirstRelease) {
  const TempFolder folder;
  folder.Write("config.json", R"({"hidden_size":2,"num_local_experts":2})");
  std::string counting;
  for (int i = 0; i < 12; ++i) counting += std::string(1, static_cast<char>(i)) + '\0';
  folder.Write(
      "consolidated.00.pt",
      test::TorchImage({{"layers.0.block_sparse_moe.w1", "HalfStorage", {6, 2}, counting},
                        {"layers.0.block_sparse_moe.w2", "HalfStorage", {6, 2}, counting},
                        {"layers.0.block_sparse_moe.gate.weight", "HalfStorage", {1, 2}, "abcd"}}));
  const auto checkpoint = OpenCheckpoint(folder.path());
  EXPECT_EQ(checkpoint->Names().size(), 5u);
  ASSERT_NE(checkpoint->Find("layers.0.feed_forward.gate.weight"), nullptr);
  const TensorView* w1 = checkpoint->Find("layers.0.feed_forward.experts.1.w1.weight");
  ASSERT_NE(w1, nullptr);
  EXPECT_EQ(w1->shape, (std::array<int64_t, 4>{3, 2, 0, 0}));
  EXPECT_EQ(w1->bytes[0], std::byte{6});
  const char* down = "layers.0.feed_forward.experts.1.w2.weight";
  EXPECT_EQ(checkpoint->Look(down)->bytes.data(), nullptr);
  const TensorView* w2 = checkpoint->Find(down);  // rows 6 7, 8 9, 10 11 transposed
  EXPECT_EQ(w2->shape, (std::array<int64_t, 4>{2, 3, 0, 0}));
  const int want[] = {6, 8, 10, 7, 9, 11};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(w2->bytes[2 * i], static_cast<std::byte>(want[i]));
  folder.Write("config.json", R"({"num_local_experts":4})");
  ExpectError(folder.path(), "tensor shape: expected [4 x rows, columns], found [6, 2]");
  folder.Write("config.json", "{}");
  ExpectError(folder.path(), "experts: expected moe.num_experts or num_local_experts");
}

TEST(CheckpointTest, OpensShardsAndChecksTheIndexBothWays) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("one.safetensors", OneTensor("a"));
  folder.Write("two.safetensors", OneTensor("b"));
  const auto index = [&](std::string_view map) {
    folder.Write("model.safetensors.index.json", fmt::format(R"({{"weight_map":{{{}}}}})", map));
  };
  index(R"("a":"one.safetensors","b":"two.safetensors")");
  const auto checkpoint = OpenCheckpoint(folder.path());
  EXPECT_EQ(checkpoint->Names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(checkpoint->Where("b"), folder.In("two.safetensors") + ":b");
  EXPECT_EQ(OpenCheckpoint(folder.In("two.safetensors"))->Names().size(), 2u);

  index(R"("a":"one.safetensors","b":"one.safetensors")");
  ExpectError(folder.path(), "corrupt: tensor: expected in one.safetensors");
  index(R"("a":"two.safetensors","b":"two.safetensors")");
  ExpectError(folder.path(), "corrupt: tensor: expected in two.safetensors");
  index(R"("a":"two.safetensors","b":"one.safetensors")");
  ExpectError(folder.path(), "weight_map: expected one.safetensors, found two.safetensors");
  index(R"("b":"two.safetensors","c":"one.safetensors")");
  ExpectError(folder.path(), "weight_map: expected one.safetensors, found nothing");
  index(R"("a":"one.safetensors","b":"three.safetensors")");
  ExpectError(folder.path(), "not found: shard: expected " + folder.In("three.safetensors"));
  index("");
  ExpectError(folder.path(), "weight_map: expected 1..4096 files, found 0");
  index(R"("a":7)");
  ExpectError(folder.path(), "$.weight_map.a: expected a string");
  for (const char* name : {"../one.safetensors", "/etc/passwd", "..", ".", "", "x/y", "a\\\\b",
                           "one.safetensors\\u0000.x"}) {
    index(fmt::format(R"("a":"{}")", name));
    ExpectError(folder.path(), "weight_map: expected plain file names");
  }
}

TEST(CheckpointTest, RefusesATensorThatIsInTwoShards) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("one.safetensors", OneTensor("a"));
  folder.Write("two.safetensors", OneTensor("a"));
  folder.Write("model.safetensors.index.json",
               R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  ExpectError(folder.path(), "weight_map: expected two.safetensors, found one.safetensors");
}

GgufImage SmallGguf(std::string_view tensor) {
  GgufImage image;
  image.String("general.architecture", "llama").String("tokenizer.chat_template", "T");
  image.Tensor(tensor, {2}, 0, 8);
  return image;
}

TEST(CheckpointTest, OpensGgufByItsContent) {
  const TempFolder folder;
  const std::string file = folder.Write("weights.safetensors", SmallGguf("a").Build());
  const auto checkpoint = OpenCheckpoint(file);
  EXPECT_EQ(checkpoint->kind(), CheckpointKind::kGguf);
  EXPECT_EQ(checkpoint->chat_template(), "T");
  EXPECT_EQ(checkpoint->config().At("general.architecture").AsString(), "llama");
  EXPECT_EQ(checkpoint->Where("a"), file + ":a");
  folder.Write("config.json", "{}");
  EXPECT_EQ(OpenCheckpoint(folder.path())->kind(), CheckpointKind::kGguf) << "the only GGUF there";
  folder.Write("other.gguf", SmallGguf("b").Build());
  ExpectError(folder.path(), "found other.gguf, weights.safetensors; name the file");
}

TEST(CheckpointTest, OpensASplitSetFromAnyOfItsFiles) {
  const TempFolder folder;
  const auto member = [](std::string_view tensor, uint16_t index, uint16_t count, int32_t tensors) {
    GgufImage image = SmallGguf(tensor);
    image.Value("split.no", 2, index).Value("split.count", 2, count);
    return image.Value("split.tensors.count", 5, tensors).Build();
  };
  const std::string first = folder.Write("m-00001-of-00002.gguf", member("a", 0, 2, 2));
  ExpectError(first, "split GGUF: expected file 2 of 2 at " + folder.In("m-00002-of-00002.gguf"));
  const std::string second = folder.Write("m-00002-of-00002.gguf", member("b", 1, 2, 2));
  for (const std::string& path : {first, second, folder.path()}) {
    const auto checkpoint = OpenCheckpoint(path);
    EXPECT_EQ(checkpoint->Names(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(checkpoint->Where("b"), second + ":b");
    EXPECT_EQ(checkpoint->config().At("split.no").AsInt(), 0) << "metadata of the first file";
  }
  folder.Write("m-00002-of-00002.gguf", member("b", 0, 2, 2));
  ExpectError(first, "split.no: expected file 2 of 2, found 1 of 2, in " + second);
  folder.Write("m-00002-of-00002.gguf", member("a", 1, 2, 2));
  ExpectError(first, "tensor name: expected once, found again, in " + second + ":a");
  folder.Write("m-00001-of-00002.gguf", member("a", 0, 2, 3));
  folder.Write("m-00002-of-00002.gguf", member("b", 1, 2, 3));
  ExpectError(first, "split.tensors.count: expected 3 tensors in 2 files, found 2");
  ExpectError(folder.Write("renamed.gguf", member("a", 0, 2, 2)),
              "expected a name like NAME-00001-of-00002.gguf");
}

TEST(CheckpointTest, SaysWhatIsWrongWithAPath) {
  const TempFolder folder;
  EXPECT_EQ(OpenError(folder.In("none.gguf")),
            "not found: no such file or folder: " + folder.In("none.gguf"));
  EXPECT_EQ(OpenError(""), "not found: no such file or folder: ");
  ExpectError(folder.path(), "or a GGUF file, found nothing, in " + folder.path());
  folder.Write("config.json", "{}");
  folder.Write("pytorch_model.bin", "PK\x03\x04");
  ExpectError(folder.path(),
              "found config.json, pytorch_model.bin (PyTorch weights are read from "
              "consolidated.00.pth or .pt and its siblings alone), in");
  ExpectError(folder.In("pytorch_model.bin"), "a zip archive");
  ExpectError(folder.In("config.json"), "JSON text, in " + folder.In("config.json"));
  ExpectError(folder.Write("empty", ""), "found what looks like an empty file, in ");
  ExpectError(folder.Write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
              "found what looks like a Git LFS pointer");
  ExpectError(folder.Write("page", "\n<html>"), "found what looks like a web page");
  ExpectError(folder.Write("notes.txt", "Hello"), "found what looks like plain text");
  ExpectError(folder.Write("noise", "\x01\x02\x03\x04"), "found what looks like unknown binary");
  ExpectError(folder.Write("loose.safetensors", OneTensor("w")), "config: expected config.json");
  const std::string pipe = folder.In("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ExpectError(pipe, "found a device, pipe or socket, at " + pipe);
}

TEST(CheckpointTest, RefusesALooseFileBesideAModel) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("model.safetensors", OneTensor("w"));
  ExpectError(folder.Write("adapter.safetensors", OneTensor("x")), "which is not one of them");
}

TEST(CheckpointTest, NamesTheFileOfABrokenConfig) {
  const TempFolder folder;
  folder.Write("config.json", "{\"a\": ");
  folder.Write("model.safetensors", OneTensor("w"));
  ExpectError(folder.path(), "in " + folder.In("config.json"));
  folder.Write("config.json", "{}");
  folder.Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid");
  ExpectError(folder.path(), "a Git LFS pointer, not the weights themselves");
  ExpectError(folder.path(), "in " + folder.In("model.safetensors"));
}

TEST(SniffTest, LooksAtContentAlone) {
  const auto sniff = [](std::string_view text) { return Sniff(std::as_bytes(std::span(text))); };
  EXPECT_EQ(sniff("GGUF"), ContentKind::kGguf);
  EXPECT_EQ(sniff("GGU"), ContentKind::kText);
  EXPECT_EQ(sniff(std::string_view("\x02\0\0\0\0\0\0\0{}", 10)), ContentKind::kSafetensors);
  EXPECT_EQ(sniff("\x80\x02}q"), ContentKind::kPickle);
  EXPECT_EQ(sniff("\x1F\x8B\x08"), ContentKind::kGzip);
  EXPECT_EQ(sniff(" [1]"), ContentKind::kJson);
  EXPECT_EQ(sniff("na\xC3\xAFve \xE6\x97"), ContentKind::kText) << "cut inside a character";
  EXPECT_EQ(sniff("\xFF\xFE\xFD"), ContentKind::kUnknown);
}

}  // namespace
}  // namespace mixtral
