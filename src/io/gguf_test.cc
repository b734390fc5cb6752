// SPDX-License-Identifier: Apache-2.0
// The GGUF parser on right, broken and mutated files.
#include "io/gguf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "io/test_images.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::GgufImage;
using test::Image;

constexpr uint64_t kHuge = uint64_t{1} << 62;
constexpr uint32_t kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_K = 12, kIq1M = 29;

GgufImage Small() {
  GgufImage image;
  image.String("general.architecture", "llama").U32("llama.block_count", 1);
  image.Tensor("a", {4, 3}, kF32, 48).Tensor("b", {64}, kQ4_0, 36);
  return image;
}

std::string ParseError(const GgufImage& image) {
  const Image bytes = image.Build();
  return ErrorOf([&] { ParseGguf(bytes, "FILE"); });
}

TEST(GgufTest, ReadsTensorsSlowestDimensionFirst) {
  GgufImage image = Small();
  image.Tensor("c", {256, 5, 2, 3}, kQ4_K, 30 * 144);
  const Image bytes = image.Build();
  const GgufFile file = ParseGguf(bytes);
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].first, "a");
  const TensorView& a = file.tensors[0].second;
  EXPECT_EQ(a.dtype, DType::kF32);
  EXPECT_EQ(a.rank, 2);
  EXPECT_EQ(a.shape, (std::array<int64_t, 4>{3, 4, 0, 0}));
  EXPECT_EQ(a.bytes.size(), 48u);
  EXPECT_EQ(a.bytes[0], std::byte{0});
  EXPECT_EQ(a.bytes[47], std::byte{47});
  const TensorView& b = file.tensors[1].second;
  EXPECT_EQ(b.dtype, DType::kQ4_0);
  EXPECT_EQ(b.bytes.size(), 36u);
  EXPECT_EQ(b.bytes[0], std::byte{0});
  EXPECT_EQ(file.tensors[2].second.shape, (std::array<int64_t, 4>{3, 2, 5, 256}));
}

TEST(GgufTest, ReadsEveryKindOfMetadata) {
  GgufImage image;
  image.Value("u8", 0, uint8_t{200}).Value("i8", 1, int8_t{-3}).Value("u16", 2, uint16_t{60000});
  image.Value("i16", 3, int16_t{-300}).U32("u32", 4000000000u).Value("i32", 5, int32_t{-7});
  image.Value("f32", 6, 0.5f).Value("yes", 7, uint8_t{1}).String("text", "a\nb");
  image.Value("u64", 10, uint64_t{1} << 40).Value("i64", 11, -(int64_t{1} << 40));
  image.Value("f64", 12, 0.1).Array<int32_t>("list", 5, {1, -2, 3});
  image.ArrayHead("nested", 9, 2).Raw(uint32_t{0}).Raw(uint64_t{1}).Raw(uint8_t{9});
  image.Raw(uint32_t{0}).Raw(uint64_t{0});
  image.Array("long", 5, std::vector<int32_t>(65, 1)).Array("edge", 5, std::vector<int32_t>(64, 1));
  const Image bytes = image.Build();
  const Json json = ParseGguf(bytes).metadata;
  EXPECT_EQ(json.At("u8").AsInt(), 200);
  EXPECT_EQ(json.At("i8").AsInt(), -3);
  EXPECT_EQ(json.At("u16").AsInt(), 60000);
  EXPECT_EQ(json.At("i16").AsInt(), -300);
  EXPECT_EQ(json.At("u32").AsInt(), 4000000000);
  EXPECT_EQ(json.At("i32").AsInt(), -7);
  EXPECT_EQ(json.At("f32").AsDouble(), 0.5);
  EXPECT_TRUE(json.At("yes").AsBool());
  EXPECT_EQ(json.At("text").AsString(), "a\nb");
  EXPECT_EQ(json.At("u64").AsInt(), int64_t{1} << 40);
  EXPECT_EQ(json.At("i64").AsInt(), -(int64_t{1} << 40));
  EXPECT_EQ(json.At("f64").AsDouble(), 0.1);
  EXPECT_EQ(json.At("list").AsIntArray(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(json.At("nested").Dump(), "[[9],[]]");
  EXPECT_FALSE(json.Find("long"));
  EXPECT_EQ(json.At("edge").Size(), 64u);
}

GgufImage WithVocabulary() {
  GgufImage image = Small();
  image.String("tokenizer.ggml.model", "llama");
  image.Strings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "x"});
  image.Array<float>("tokenizer.ggml.scores", 6, {0, 0, 0, -1.5f});
  image.Array<int32_t>("tokenizer.ggml.token_type", 5, {2, 3, 3, 1});
  image.U32("tokenizer.ggml.bos_token_id", 1).U32("tokenizer.ggml.eos_token_id", 2);
  image.Value("tokenizer.ggml.add_bos_token", 7, uint8_t{0});
  return image;
}

TEST(GgufTest, ReadsTheVocabulary) {
  const Image bytes = WithVocabulary().Build();
  const GgufFile file = ParseGguf(bytes);
  ASSERT_TRUE(file.vocabulary.has_value());
  const GgufVocabulary& vocabulary = *file.vocabulary;
  EXPECT_EQ(vocabulary.model, "llama");
  EXPECT_EQ(vocabulary.tokens, (std::vector<std::string>{"<unk>", "<s>", "</s>", "x"}));
  EXPECT_EQ(vocabulary.scores, (std::vector<float>{0, 0, 0, -1.5f}));
  EXPECT_EQ(vocabulary.types, (std::vector<int32_t>{2, 3, 3, 1}));
  EXPECT_EQ(vocabulary.bos_id, 1);
  EXPECT_EQ(vocabulary.eos_id, 2);
  EXPECT_FALSE(vocabulary.unknown_id.has_value());
  EXPECT_FALSE(vocabulary.add_bos);
  EXPECT_FALSE(vocabulary.add_eos);
  EXPECT_TRUE(vocabulary.add_space_prefix);
  EXPECT_FALSE(ParseGguf(Small().Build()).vocabulary.has_value());
}

TEST(GgufTest, HonoursTheAlignmentOfTheFile) {
  GgufImage image;
  image.alignment = 128;
  image.U32("general.alignment", 128)
      .U32("more", 1)
      .Tensor("a", {1}, kF32, 4)
      .Tensor("b", {1}, kF32, 4);
  const Image bytes = image.Build();
  const GgufFile file = ParseGguf(bytes);
  EXPECT_EQ(file.tensors[0].second.bytes.data() - bytes.data(), 256);  // 160 with the default
  EXPECT_EQ(file.tensors[1].second.bytes.data() - bytes.data(), 384);
}

TEST(GgufTest, ReadsVersionTwoAndRefusesOthers) {
  GgufImage image = Small();
  image.version = 2;
  EXPECT_EQ(ParseGguf(image.Build()).version, 2u);
  image.version = 1;
  EXPECT_EQ(ParseError(image), "unsupported: GGUF version: expected 2 or 3, found 1, in FILE");
  image.version = 99;
  EXPECT_EQ(ParseError(image), "unsupported: GGUF version: expected 2 or 3, found 99, in FILE");
  image.version = 0x03000000;
  EXPECT_NE(ParseError(image).find("big-endian"), std::string::npos);
}

struct BadImage {
  std::string_view message;  // must be part of the error
  std::function<void(GgufImage*)> spoil;
};

TEST(GgufTest, RefusesBadTensorsByName) {
  const BadImage cases[] = {
      {"tensor type: IQ1_M is not supported yet, expected F32, F16, BF16, Q8_0, Q4_0, ",
       [](GgufImage* i) { i->Tensor("t", {256}, kIq1M, 56); }},
      {" or I32, in FILE:t", [](GgufImage* i) { i->Tensor("t", {256}, kIq1M, 56); }},
      {"found the unknown type id 200, in FILE:t",
       [](GgufImage* i) { i->Tensor("t", {256}, 200, 176); }},
      {"tensor rank: expected 1..4, found 5, in FILE:t",
       [](GgufImage* i) {
         i->Tensor("t", {1, 1, 1, 1, 1}, kF32, 4);
       }},
      {"tensor rank: expected 1..4, found 0, in FILE:t",
       [](GgufImage* i) { i->Tensor("t", {}, kF32, 4); }},
      {"tensor dimension: expected 1..2^63-1, found 0",
       [](GgufImage* i) {
         i->Tensor("t", {4, 0}, kF32, 0);
       }},
      {"tensor dimension: expected 1..2^63-1, found 9223372036854775808",
       [](GgufImage* i) { i->Tensor("t", {uint64_t{1} << 63}, kF32, 0); }},
      {"expected a size below 2^63 bytes, found F32 [8589934592, 8589934592], in FILE:t",
       [](GgufImage* i) {
         i->Tensor("t", {uint64_t{1} << 33, uint64_t{1} << 33}, kF32, 16);
       }},
      {"expected rows of whole blocks of 256 (Q4_K), found [8, 32], in FILE:t",
       [](GgufImage* i) {
         i->Tensor("t", {32, 8}, kQ4_K, 144);
       }},
      {"tensor offset: expected a multiple of 32 (the alignment), found 8, in FILE:t",
       [](GgufImage* i) { i->Tensor("t", {2}, kF32, 0, 8); }},
      {"tensor offset: expected at least 48, where a ends, found 32 (an overlap), in FILE:t",
       [](GgufImage* i) { i->Tensor("t", {2}, kF32, 0, 32); }},
      {"tensor data: expected 4096 bytes (F16 [2048]) at offset 128, found 130 data bytes",
       [](GgufImage* i) { i->Tensor("t", {2048}, kF16, 2); }},
      {"at offset 9223372036854775776, found",
       [](GgufImage* i) { i->Tensor("t", {2048}, kF16, 2, INT64_MAX - 31); }},
      {"tensor name: expected once, found again, in FILE:a",
       [](GgufImage* i) { i->Tensor("a", {1}, kF32, 4); }},
      {"tensor name: expected 1..1024 bytes of UTF-8",
       [](GgufImage* i) { i->Tensor("", {1}, kF32, 4); }},
      {"tensor name: expected 1..1024 bytes of UTF-8",
       [](GgufImage* i) { i->Tensor("\xFF\xFE", {1}, kF32, 4); }},
      {"tensor count: expected at most",
       [](GgufImage* i) { i->claimed_tensors = int64_t{1} << 60; }},
      {"a file cut short?", [](GgufImage* i) { i->cut_bytes = 1; }},
  };
  for (const BadImage& bad : cases) {
    GgufImage image = Small();
    bad.spoil(&image);
    const std::string error = ParseError(image);
    EXPECT_NE(error.find(bad.message), std::string::npos) << bad.message << "\n  gave: " << error;
    EXPECT_NE(error.find(", in FILE"), std::string::npos) << error;
  }
}

TEST(GgufTest, RefusesBadMetadataByKey) {
  const BadImage cases[] = {
      {"metadata value type: expected 0..12, found 13, in key k, in FILE",
       [](GgufImage* i) { i->Value("k", 13, 1); }},
      {"expected a bool of 0 or 1, found 2, in key k, in FILE",
       [](GgufImage* i) { i->Value("k", 7, uint8_t{2}); }},
      {"metadata value: expected 4611686018427387904 bytes",
       [](GgufImage* i) { i->Value("k", 8, kHuge); }},
      {"metadata array length: expected at most",
       [](GgufImage* i) { i->ArrayHead("k", 0, kHuge); }},
      {"metadata array length: expected at most",
       [](GgufImage* i) { i->ArrayHead("k", 9, kHuge); }},
      {"metadata array item: expected 4611686018427387904 bytes",
       [](GgufImage* i) { i->ArrayHead("k", 8, 1).Raw(kHuge); }},
      {"expected arrays at most 4 deep",
       [](GgufImage* i) {
         i->ArrayHead("k", 9, 1);
         for (int depth = 0; depth < 8; ++depth) i->Raw(uint32_t{9}).Raw(uint64_t{1});
       }},
      {"metadata key: expected once, found again, in key llama.block_count",
       [](GgufImage* i) { i->U32("llama.block_count", 2); }},
      {"metadata key: expected 1..65535 bytes of UTF-8", [](GgufImage* i) { i->U32("", 2); }},
      {"metadata key: expected 1..65535 bytes of UTF-8", [](GgufImage* i) { i->U32("\xC0", 2); }},
      {"metadata count: expected at most 4096",
       [](GgufImage* i) { i->claimed_pairs = int64_t{1} << 60; }},
      {"general.alignment: expected a power of two, found 24",
       [](GgufImage* i) { i->U32("general.alignment", 24); }},
      {"$.general.alignment: expected", [](GgufImage* i) { i->U32("general.alignment", 0); }},
      {"$.general.alignment: expected", [](GgufImage* i) { i->String("general.alignment", "x"); }},
      {"$.split.no: expected", [](GgufImage* i) { i->Value("split.no", 5, int32_t{-1}); }},
      {"$.tokenizer.ggml.model: expected a value",
       [](GgufImage* i) { i->Strings("tokenizer.ggml.tokens", {"x"}); }},
      {"tokenizer.ggml.tokens: expected an array",
       [](GgufImage* i) { i->String("tokenizer.ggml.tokens", "x"); }},
      {"tokenizer.ggml.tokens: expected items of type 8, found type 5",
       [](GgufImage* i) { i->Array<int32_t>("tokenizer.ggml.tokens", 5, {1}); }},
  };
  for (const BadImage& bad : cases) {
    GgufImage image = Small();
    bad.spoil(&image);
    const std::string error = ParseError(image);
    EXPECT_NE(error.find(bad.message), std::string::npos) << bad.message << "\n  gave: " << error;
  }
}

TEST(GgufTest, RefusesBadVocabularies) {
  const BadImage cases[] = {
      {"tokenizer.ggml.scores: expected 2 items, as many as tokens, found 3",
       [](GgufImage* i) {
         i->Array<float>("tokenizer.ggml.scores", 6, {0, 0, 0});
       }},
      {"tokenizer.ggml.scores: expected finite numbers",
       [](GgufImage* i) {
         i->Array<float>("tokenizer.ggml.scores", 6, {0, NAN});
       }},
      {"tokenizer.ggml.token_type: expected 2 items, as many as tokens, found 1",
       [](GgufImage* i) { i->Array<int32_t>("tokenizer.ggml.token_type", 5, {1}); }},
      {"tokenizer.ggml.token_type: expected 1..6, found 7",
       [](GgufImage* i) {
         i->Array<int32_t>("tokenizer.ggml.token_type", 5, {1, 7});
       }},
      {"$.tokenizer.ggml.bos_token_id: expected an integer from 0 to 1, found 2",
       [](GgufImage* i) { i->U32("tokenizer.ggml.bos_token_id", 2); }},
      {"$.tokenizer.ggml.add_bos_token: expected true or false",
       [](GgufImage* i) { i->U32("tokenizer.ggml.add_bos_token", 1); }},
  };
  for (const BadImage& bad : cases) {
    GgufImage image = Small();
    image.String("tokenizer.ggml.model", "llama").Strings("tokenizer.ggml.tokens", {"x", "y"});
    bad.spoil(&image);
    const std::string error = ParseError(image);
    EXPECT_NE(error.find(bad.message), std::string::npos) << bad.message << "\n  gave: " << error;
  }
}

TEST(GgufTest, RefusesEveryTruncation) {
  const Image image = WithVocabulary().Build();
  for (size_t size = 0; size < image.size(); ++size) {
    const Image cut(image.begin(), image.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_NE(ErrorOf([&] { ParseGguf(cut, "FILE"); }).find(", in FILE"), std::string::npos)
        << size;
  }
}

TEST(GgufTest, SurvivesMutations) {
  test::ParseMutations(WithVocabulary().Build(), 4000,
                       [](const Image& image) { ParseGguf(image); });
}

TEST(GgufTest, FindsSplitSiblings) {
  EXPECT_EQ(SplitSibling("/m/big-00002-of-00003.gguf", 0), "/m/big-00001-of-00003.gguf");
  EXPECT_EQ(SplitSibling("big-00002-of-00013.gguf", 11), "big-00012-of-00013.gguf");
  EXPECT_EQ(SplitSibling("/m/big.gguf", 0), std::nullopt);
  EXPECT_EQ(SplitSibling("/m/big-2-of-3.gguf", 0), std::nullopt);
  EXPECT_EQ(SplitSibling("00002-of-00003", 0), std::nullopt);
}

}  // namespace
}  // namespace mixtral
