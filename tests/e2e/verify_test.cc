// SPDX-License-Identifier: Apache-2.0
// `verify` on the shipped model, and on copies of it that are damaged in one place.
#include <gtest/gtest.h>

#include <cstring>

#include "base/json.h"
#include "base/sha256.h"
#include "e2e/process.h"
#include "io/checkpoint.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Where the bytes of a merged expert tensor's slice lie in the shipped file, and how many.
struct Slice {
  size_t offset = 0, n_bytes = 0;
};
Slice SliceOf(const std::string& file, const std::string& name, size_t expert) {
  const auto checkpoint = OpenCheckpoint(ShippedModel());
  const TensorView& view = *checkpoint->Find(name);
  const auto* data = reinterpret_cast<const char*>(view.bytes.data());
  const size_t n_bytes = view.bytes.size() / static_cast<size_t>(view.shape[0]);
  const size_t offset = file.find(std::string(data, 256));
  EXPECT_NE(offset, std::string::npos);
  return {offset + expert * n_bytes, n_bytes};
}

TEST(E2eVerify, TheShippedModelIsRight) {
  const Finished run = Mixtral({"verify", ShippedModel()});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_TRUE(run.out.starts_with("checksums   ok: none beside the files")) << run.out;
  for (const char* line : {"\nshapes      ok: ", "\nweights     ok: 15.35 M values, 0 NaN, 0 Inf",
                           "\nexperts     ok: ", "\nkernels     ok: ", "\nresult      ok\n"})
    EXPECT_TRUE(Has(run.out, line)) << line << run.out;
  EXPECT_EQ(Mixtral({"verify", ShippedModel(), "-t", "1"}).out, run.out);
  const Json json = Json::Parse(Mixtral({"verify", ShippedModel(), "--json"}).out, "verify");
  EXPECT_TRUE(json.At("ok").AsBool());
  EXPECT_EQ(json.At("experts").At("norms").Size(), 4u * 8 * 3);
  EXPECT_EQ(json.At("weights").At("nan").AsInt(), 0);
}

class E2eVerifyCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    bytes_ = ReadFile(ShippedModel());
    WriteFile(path_, bytes_);
  }
  Finished Verify() {
    WriteFile(path_, bytes_);
    return Mixtral({"verify", path_});
  }
  TempDir dir_;
  std::string path_ = dir_ / "model.gguf", bytes_;
};

TEST_F(E2eVerifyCopy, ChecksumsBesideTheFile) {
  const std::string right = Sha256Hex(bytes_);
  WriteFile(dir_ / "SHA256SUMS", right + " *./model.gguf\n" + std::string(64, 'a') + "  other\n");
  WriteFile(path_ + ".sha256", right + "\n");
  std::filesystem::create_directories(dir_ / ".cache/huggingface/download");
  WriteFile(dir_ / ".cache/huggingface/download/model.gguf.metadata",
            "0123\n" + right + "\n1700000000.0\n");
  const Finished good = Verify();
  EXPECT_EQ(good.exit_code, 0) << good.out << good.err;
  EXPECT_TRUE(good.out.starts_with("checksums   ok: 3 of 3 as they should be\n")) << good.out;
  EXPECT_TRUE(Has(Mixtral({"verify", dir_.path()}).out, "3 of 3"));

  bytes_[bytes_.size() - 1] ^= 1;  // one bit of a quant: still a number
  const Finished bad = Verify();
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_TRUE(bad.out.starts_with("checksums   WRONG: 0 of 3 as they should be\n")) << bad.out;
  EXPECT_TRUE(Has(bad.out, "expected SHA-256 " + right + ", as " + (dir_ / "SHA256SUMS") +
                               " says, found " + Sha256Hex(bytes_)));
  EXPECT_TRUE(Has(bad.out, "\nresult      WRONG: 3 problems\n")) << bad.out;
}

TEST_F(E2eVerifyCopy, BrokenChecksumFilesAreOneLine) {
  WriteFile(dir_ / "SHA256SUMS", "\nnonsense\n");
  EXPECT_EQ(RefusalProblem(Mixtral({"verify", path_}), 2, (dir_ / "SHA256SUMS") + ":2"), "");
  WriteFile(dir_ / "SHA256SUMS", "# nothing\n");
  WriteFile(path_ + ".sha256", "abc\n");
  EXPECT_EQ(RefusalProblem(Mixtral({"verify", path_}), 2, path_ + ".sha256"), "");
}

TEST_F(E2eVerifyCopy, ScalesThatAreNoNumbers) {
  const Slice up = SliceOf(bytes_, "blk.2.ffn_up_exps.weight", 5);
  const std::string all_ones(40, '\xff');  // longer than a block: one scale at least is NaN
  bytes_.replace(up.offset + 3400, all_ones.size(), all_ones);
  const Finished run = Verify();
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_TRUE(Has(run.out, "\nweights     WRONG: ")) << run.out;
  EXPECT_TRUE(Has(run.out, "blk.2.ffn_up_exps.weight expert 5: ")) << run.out;
  EXPECT_TRUE(Has(run.out, " NaN and ")) << run.out;
  EXPECT_TRUE(Has(run.out, "\nresult      WRONG: 1 problem\n")) << run.out;
}

TEST_F(E2eVerifyCopy, CopiedAndScaledExpertsAreNoted) {
  for (const char* matrix : {"gate", "up", "down"}) {
    const std::string name = std::string("blk.1.ffn_") + matrix + "_exps.weight";
    const Slice from = SliceOf(bytes_, name, 2), to = SliceOf(bytes_, name, 6);
    bytes_.replace(to.offset, to.n_bytes, bytes_.substr(from.offset, from.n_bytes));
  }
  const Slice gate = SliceOf(bytes_, "blk.3.ffn_gate_exps.weight", 0);
  for (size_t at = gate.offset; at < gate.offset + gate.n_bytes; at += 34) {  // Q8_0: 8 times d
    uint16_t d = 0;
    std::memcpy(&d, bytes_.data() + at, 2);
    if ((d & 0x7FFF) != 0) d = static_cast<uint16_t>(d + (3u << 10));
    std::memcpy(bytes_.data() + at, &d, 2);
  }
  const Finished run = Verify();
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_TRUE(Has(run.out, "note: layer 1: experts 2, 6 are copies of each other")) << run.out;
  EXPECT_TRUE(Has(run.out, "note: layer 3 expert 0 gate: root mean square")) << run.out;
}

TEST_F(E2eVerifyCopy, WhatCannotBeOpenedIsOneLine) {
  EXPECT_EQ(
      RefusalProblem(Mixtral({"verify", dir_ / "modle.gguf"}), 2, "did you mean '" + path_ + "'?"),
      "");
  const std::string whole = bytes_;
  bytes_.resize(1'000'000);
  EXPECT_EQ(RefusalProblem(Verify(), 2, path_), "");
  WriteFile(dir_ / "SHA256SUMS", Sha256Hex(whole) + "  model.gguf\n");
  const Finished run = Verify();
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_TRUE(run.out.starts_with("checksums   WRONG: 0 of 1")) << run.out;
  EXPECT_TRUE(Has(run.err, path_)) << run.err;
}

}  // namespace
}  // namespace mixtral::testing
