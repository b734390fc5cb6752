// SPDX-License-Identifier: Apache-2.0
// Zip archives, pickles and what they make together: right ones give views, broken and hostile ones
// are refused in one line, and nothing is ever executed.
#include "io/torch_zip.h"

#include <gtest/gtest.h>

#include "io/pickle.h"
#include "io/test_images.h"
#include "io/test_torch.h"
#include "io/zip.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::PickleImage;
using test::TorchImage;
using test::TorchTensor;
using test::ZipImage;
using test::ZipLie;

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string ZipError(const ZipImage& zip) {
  const std::string image = zip.Build();
  return ErrorOf([&] { ParseZip(Bytes(image), "f.pth"); });
}

TEST(Zip, MembersAreViews) {
  for (const bool zip64_end : {false, true}) {
    ZipImage zip;
    zip.zip64_end = zip64_end;
    zip.Add("a/x", "hello");
    zip.Add("a/empty", "");
    zip.Add("a/y", "there", {.name = {}, .local_name = {}, .zip64 = true});
    const std::string image = zip.Build();
    const auto members = ParseZip(Bytes(image));
    ASSERT_EQ(members.size(), 3u);
    EXPECT_EQ(members[0].name, "a/x");
    EXPECT_EQ(image.find("hello"),
              static_cast<size_t>(members[0].bytes.data() - Bytes(image).data()));
    EXPECT_EQ(members[1].bytes.size(), 0u);
    EXPECT_EQ(std::memcmp(members[2].bytes.data(), "there", 5), 0);
    EXPECT_EQ((members[2].bytes.data() - Bytes(image).data()) % 64, 0);
  }
}

TEST(Zip, TakesACommentAtTheEnd) {
  ZipImage zip;
  zip.Add("x", "1");
  std::string image = zip.Build();
  image[image.size() - 2] = 3;
  EXPECT_EQ(ParseZip(Bytes(image + "abc")).size(), 1u);
  EXPECT_NE(ErrorOf([&] { ParseZip(Bytes(image + "ab")); }), "");
}

TEST(Zip, RefusesWhatItCannotTrust) {
  const auto error = [](const ZipLie& lie) {
    ZipImage zip;
    zip.Add("first", "0123456789");
    zip.Add("second", "abc", lie);
    return ZipError(zip);
  };
  const auto lie = [](auto set) {
    ZipLie l;
    set(l);
    return l;
  };
  EXPECT_EQ(error(lie([](auto& l) { l.method = 8; })),
            "unsupported: zip member: expected stored bytes (method 0), found compression (method "
            "8), in f.pth:second");
  EXPECT_NE(error(lie([](auto& l) { l.flags = 0x809; })).find("encryption"), std::string::npos);
  EXPECT_NE(error(lie([](auto& l) { l.size = 1 << 30; })).find("expected 1073741824 bytes before"),
            std::string::npos);
  EXPECT_NE(error(lie([](auto& l) { l.offset = 0; })).find("an overlap with another member"),
            std::string::npos);
  EXPECT_NE(error(lie([](auto& l) { l.offset = 1; })).find("an overlap with another member"),
            std::string::npos);
  EXPECT_NE(error(lie([](auto& l) { l.offset = 1 << 30; })).find("found an offset of"),
            std::string::npos);
  EXPECT_NE(error(lie([](auto& l) { l.zip64 = true, l.size = int64_t{1} << 62; })).find("bytes"),
            std::string::npos);
  for (const char* name : {"/etc/passwd", "../x", "a/../x", "a\\b"})
    EXPECT_NE(
        error(lie([&](auto& l) { l.name = l.local_name = name; })).find("plain relative name"),
        std::string::npos)
        << name;
  ZipImage twice;
  twice.Add("x", "1");
  twice.Add("x", "2");
  EXPECT_EQ(ZipError(twice),
            "corrupt: zip member: expected a name of its own, found it twice, in "
            "f.pth:x");
  ZipImage overlap;
  overlap.Add("xx", "1234");
  overlap.Add("xx", "2", {.offset = 0, .name = {}, .local_name = {}});
  EXPECT_NE(ZipError(overlap), "");
}

TEST(Zip, ClaimsOfTheEndRecordAreChecked) {
  for (const int64_t entries : {int64_t{0}, int64_t{2}, int64_t{1} << 60}) {
    ZipImage zip;
    zip.Add("x", "1");
    zip.claimed_entries = entries;
    EXPECT_NE(ZipError(zip), "") << entries;
  }
  for (const int64_t at : {int64_t{0}, int64_t{1} << 30, int64_t{1} << 62}) {
    ZipImage zip;
    zip.Add("x", "1");
    zip.claimed_directory = at;
    EXPECT_NE(ZipError(zip), "") << at;
  }
}

// ---- pickles ----

std::string PickleError(const PickleImage& pickle) {
  return ErrorOf([&] { ParsePickledStateDict(Bytes(pickle.Build()), "f.pth"); });
}

TEST(Pickle, NothingIsExecuted) {
  const std::pair<const char*, const char*> attacks[] = {{"os", "system"},
                                                         {"builtins", "eval"},
                                                         {"torch", "load"},
                                                         {"nt", "system"},
                                                         {"torch._utils", "_rebuild_tensor"},
                                                         {"collections", "Counter"}};
  for (const auto& [module, name] : attacks) {
    PickleImage pickle;
    pickle.Global(module, name).Op("(").Text("touch /tmp/owned").Op("tR.");
    const std::string error = PickleError(pickle);
    EXPECT_NE(error.find("unsupported: pickle: expected names that tensors need (nothing else is "
                         "run), found " +
                         std::string(module) + "." + name),
              std::string::npos)
        << error;
  }
  // A name that is allowed but is no function either.
  PickleImage storage;
  storage.Global("torch", "FloatStorage").Op("(").Int(1 << 30).Op("tR.");
  EXPECT_NE(PickleError(storage).find("nothing else is run"), std::string::npos);
}

TEST(Pickle, OtherOpcodesAndProtocolsAreRefused) {
  for (const char* opcode :
       {"i", "o", "\x81", "\x93", "\x94", "\x95", "\x97", "P", "0", "2", "V"}) {
    PickleImage pickle;
    EXPECT_NE(PickleError(pickle.Op("}").Op(opcode)).find("opcode 0x"), std::string::npos)
        << opcode;
  }
  const std::string four("\x80\x04}.", 4);
  EXPECT_EQ(ErrorOf([&] { ParsePickledStateDict(Bytes(four), "f"); }),
            "unsupported: pickle: expected protocol 2, found 4, in f");
}

TEST(Pickle, BrokenOnesAreRefused) {
  using P = PickleImage;
  const P broken[] = {
      P(),                                                          // ends at once
      P().Op("."),                                                  // nothing on the stack
      P().Op("}}."),                                                // two values
      P().Op("}(."),                                                // a mark is left
      P().Op("}.}"),                                                // more after the end
      P().Op("t."),                                                 // no mark
      P().Op("(R."),                                                // below the mark
      P().Op("\x87."),                                              // too few for a tuple
      P().Op("}h\x05."),                                            // not remembered
      P().Op("X\xFF\xFF\xFF\xFFzz"),                                // longer than the file
      P().Op("}(K\x01u."),                                          // half a pair
      P().Op("K\x01."),                                             // no dict
      P().Op("}(X\x01").Op(std::string_view("\0\0\0aK\x01u.", 9)),  // a value that is no tensor
      P().Op("K\x01Q."),                                            // no persistent id
      P().Op("(K\x01K\x01K\x01K\x01K\x01tQ."),
      P().Op("]}a."),  // a list at the top
      P().Op("\x8A\x09"),
      P().Op("X\x01").Op(std::string_view("\0\0\0\xFF.", 5)),  // no UTF-8
  };
  for (const P& pickle : broken) EXPECT_NE(PickleError(pickle), "") << pickle.Build();
}

TEST(Pickle, ReadsMemoParametersAndModuleMetadata) {
  // As state_dict() of a module pickles: an OrderedDict with a state, names and storages recalled.
  PickleImage good;
  good.Global("collections", "OrderedDict").Op("q\x01").Op(")R(").Text("w");
  good.Global("torch._utils", "_rebuild_parameter").Op("(");
  good.Global("torch._utils", "_rebuild_tensor_v2").Op("(");
  good.Storage("HalfStorage", "0", 8).Int(2).Ints({3, 2}).Ints({2, 1}).Op("\x88h\x01)RtR");
  good.Op("\x88h\x01)RtRu}").Text("_metadata").Op("Nsb.");
  const auto tensors = ParsePickledStateDict(Bytes(good.Build()));
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, "w");
  EXPECT_EQ(tensors[0].storage_class, "HalfStorage");
  EXPECT_EQ(tensors[0].storage_key, "0");
  EXPECT_EQ(tensors[0].storage_elements, 8);
  EXPECT_EQ(tensors[0].offset, 2);
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{3, 2}));
}

// ---- both together ----

std::string Counting(size_t n) {
  std::string bytes(n, '\0');
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}

std::string TorchError(const std::vector<TorchTensor>& tensors) {
  const std::string image = TorchImage(tensors);
  return ErrorOf([&] { ParseTorchZip(Bytes(image), "f.pth"); });
}

TEST(TorchZip, TensorsAreViewsOfTheFile) {
  const std::string image = TorchImage({{"a", "FloatStorage", {2, 3}, Counting(24)},
                                        {"b", "BFloat16Storage", {4}, Counting(8)},
                                        {"c", "HalfStorage", {1, 2}, "", {77, 1}, 1, 4, "1"},
                                        {"i", "IntStorage", {}, Counting(4)}});
  const auto tensors = ParseTorchZip(Bytes(image));
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].first, "a");
  EXPECT_EQ(tensors[0].second.dtype, DType::kF32);
  EXPECT_EQ(tensors[0].second.shape, (std::array<int64_t, 4>{2, 3, 0, 0}));
  EXPECT_EQ(std::memcmp(tensors[0].second.bytes.data(), Counting(24).data(), 24), 0);
  EXPECT_EQ(tensors[1].second.dtype, DType::kBF16);
  EXPECT_EQ(tensors[2].second.dtype, DType::kF16);
  EXPECT_EQ(tensors[2].second.bytes.data(), tensors[1].second.bytes.data() + 2) << "one storage";
  EXPECT_EQ(tensors[2].second.bytes.size(), 4u);
  EXPECT_EQ(tensors[3].second.rank, 0);
  EXPECT_GE(tensors[0].second.bytes.data(), Bytes(image).data());
}

TEST(TorchZip, RefusesWhatDoesNotFit) {
  EXPECT_EQ(TorchError({{"a", "LongStorage", {1}, Counting(8)}}),
            "unsupported: tensor type: expected FloatStorage, HalfStorage, BFloat16Storage or "
            "IntStorage, found LongStorage (not supported), in f.pth:a");
  EXPECT_EQ(
      TorchError({{"a", "FloatStorage", {2, 2}, Counting(16), {1, 2}}}),
      "unsupported: tensor strides: expected a tensor that lies row by row, found strides [1, "
      "2] for [2, 2], in f.pth:a");
  const std::vector<TorchTensor> corrupt = {
      {"a", "FloatStorage", {5}, Counting(16)},                    // more than the storage
      {"a", "FloatStorage", {4}, Counting(16), {}, 1},             // beyond it
      {"a", "FloatStorage", {4}, Counting(16), {}, -1},            // before it
      {"a", "FloatStorage", {4}, Counting(16), {}, 0, 5},          // its claim is not its size
      {"a", "FloatStorage", {-4}, Counting(16)},                   // negative
      {"a", "FloatStorage", {int64_t{1} << 61, 8}, Counting(16)},  // overflows
      {"a", "FloatStorage", {4}, Counting(16), {}, 0, -1, "7"},    // no such storage
      {"a", "FloatStorage", {4}, Counting(16), {}, 0, -1, "../../etc/passwd"},
      {"", "FloatStorage", {4}, Counting(16)},
      {"a", "FloatStorage", {4}, Counting(16), {1, 1}},  // strides of another rank
  };
  for (const TorchTensor& tensor : corrupt) {
    const std::string error = TorchError({tensor});
    EXPECT_TRUE(error.starts_with("corrupt: ")) << error;
    EXPECT_NE(error.find("f.pth"), std::string::npos) << error;
  }
  EXPECT_NE(TorchError({{"a", "FloatStorage", {1, 1, 1, 1, 1}, Counting(4)}}).find("4 dimensions"),
            std::string::npos);
  const TorchTensor one = {"a", "FloatStorage", {1}, Counting(4)};
  EXPECT_EQ(TorchError({one, one}), "corrupt: tensor name: expected once, found again, in f.pth:a");
}

TEST(TorchZip, RefusesOtherArchives) {
  ZipImage zip;
  zip.Add("word/document.xml", "<xml>");
  const std::string image = zip.Build();
  EXPECT_EQ(
      ErrorOf([&] { ParseTorchZip(Bytes(image), "f.docx"); }),
      "unsupported: zip: expected an archive of torch.save with one FOLDER/data.pkl, found 0, "
      "in f.docx");
  ZipImage big;
  PickleImage pickle;
  big.Add("a/data.pkl", pickle.Op("}.").Build());
  big.Add("a/byteorder", "big");
  const std::string other = big.Build();
  EXPECT_NE(ErrorOf([&] { ParseTorchZip(Bytes(other)); }).find("expected little, found big"),
            std::string::npos);
}

TEST(TorchZip, SurvivesMutations) {
  const std::string image = TorchImage({{"layers.0.w", "FloatStorage", {2, 3}, Counting(24)},
                                        {"b", "BFloat16Storage", {4}, Counting(8)}});
  test::Image bytes;
  test::AppendBytes(&bytes, image.data(), image.size());
  test::ParseMutations(bytes, 20000, [](const test::Image& mutated) {
    for (const auto& [name, view] : ParseTorchZip(mutated)) {
      volatile std::byte sink = view.bytes.empty() ? std::byte{0} : view.bytes.back();
      static_cast<void>(sink);
    }
  });
}

TEST(TorchZip, EveryPrefixIsRefused) {
  const std::string image = TorchImage({{"a", "FloatStorage", {2, 3}, Counting(24)}});
  for (size_t n = 0; n < image.size(); ++n)
    EXPECT_NE(ErrorOf([&] { ParseTorchZip(Bytes(std::string_view(image).substr(0, n))); }), "")
        << n;
}

}  // namespace
}  // namespace mixtral
