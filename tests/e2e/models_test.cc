// SPDX-License-Identifier: Apache-2.0
// mixtral info and logits, models of every format, and the broken ones of the fixtures.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/json.h"
#include "e2e/process.h"
#include "io/safetensors.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

void MakeTinyModels(const TempDir& dir) {
  const std::string command = "'" MIXTRAL_TINY_MODEL_MAKER "' '" + dir.path() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
}

constexpr const char* kTinyModels[] = {
    "hf", "hf-sharded", "native", "tiny-f32.gguf", "tiny-f16.gguf", "tiny-q8_0.gguf"};

struct Tensor {
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<float> floats;
  std::vector<int32_t> ints;
};

std::map<std::string, Tensor> ReadTensors(const std::string& path) {
  const std::string bytes = ReadFile(path);
  const auto file = ParseSafetensors(std::as_bytes(std::span(bytes)), path);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, view] : file.tensors) {
    Tensor& tensor = tensors[name];
    tensor.dtype = view.dtype;
    tensor.shape.assign(view.shape.begin(), view.shape.begin() + view.rank);
    const auto n = static_cast<size_t>(view.Elements());
    if (view.dtype == DType::kI32) {
      tensor.ints.resize(n);
      std::memcpy(tensor.ints.data(), view.bytes.data(), view.bytes.size());
    } else {
      tensor.floats.resize(n);
      std::memcpy(tensor.floats.data(), view.bytes.data(), view.bytes.size());
    }
  }
  return tensors;
}

std::map<std::string, Tensor> Logits(const std::string& model, const std::string& prompts,
                                     const std::vector<std::string>& more) {
  const TempDir dir;
  WriteFile(dir / "ids.json", prompts);
  std::vector<std::string> arguments = {"logits",         model, "--tokens",
                                        dir / "ids.json", "-o",  dir / "out.safetensors"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished run = Mixtral(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  if (run.exit_code != 0) return {};
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);
  return ReadTensors(dir / "out.safetensors");
}

float MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

using Shape = std::vector<int64_t>;

TEST(E2eInfo, EveryFormatHasTheSameArchitecture) {
  const TempDir dir;
  MakeTinyModels(dir);
  std::string first;
  for (const char* name : kTinyModels) {
    const Finished run = Mixtral({"info", dir / name, "--json", "--tensors"});
    ASSERT_EQ(run.exit_code, 0) << name << run.err;
    const Json json = Json::Parse(run.out, name);
    const Json shape = json.At("architecture").Set("context", 0);  // params.json has none
    const std::string architecture = shape.Dump();
    if (first.empty()) first = architecture;
    EXPECT_EQ(architecture, first) << name;
    EXPECT_GT(json.At("kernels").At("slots").Size(), 50u);
    int64_t bytes = 0;
    const Json tensors = json.At("tensors");
    for (size_t i = 0; i < tensors.Size(); ++i) bytes += tensors.At(i).At("bytes").AsInt();
    EXPECT_EQ(json.At("bytes").At("weights").AsInt(), bytes) << name;
    EXPECT_EQ(json.Find("tokenizer").has_value(), std::string(name).ends_with(".gguf")) << name;
  }
}

TEST(E2eInfo, TextNamesWhatMatters) {
  const Finished run = Mixtral({"info", ShippedModel(), "--tensors"});
  EXPECT_EQ(run.exit_code, 0);
  for (const char* part :
       {"GGUF", "15.35 M, 5.91 M active", "8, 2 per token", "Q8_0 ", "4096 pieces, BOS 1, EOS 2",
        "mistral-v1 (the vocabulary has no control piece [INST])", "1.02 kB (f16)", "gemv_rows",
        "blk.3.ffn_down_exps.weight", "[8, 256, 512]"})
    EXPECT_NE(run.out.find(part), std::string::npos) << part;
  const Finished scalar = RunProcess(
      {.arguments = {"info", ShippedModel()}, .input = "", .environment = {"MIXTRAL_ISA=scalar"}});
  EXPECT_NE(scalar.out.find("kernels         scalar"), std::string::npos) << scalar.out;
  EXPECT_EQ(scalar.out.find("avx2"), std::string::npos);
}

TEST(E2eRunFormats, IdsInIdsOut) {
  const TempDir dir;
  MakeTinyModels(dir);
  const auto greedy = [&](const std::string& name) {
    const Finished run = Mixtral({"run", dir / name, "--token-ids", "1,17,30,5", "--temperature",
                                  "0", "--compute", "exact", "-n", "5", "--ignore-eos"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(ParseIds(run.out).size(), 5u) << run.out;
    return run.out;
  };
  EXPECT_EQ(greedy("hf"), greedy("native"));  // the same bf16 weights
  greedy("hf-sharded");
  greedy("tiny-f32.gguf");
  greedy("tiny-q8_0.gguf");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", dir / "hf", "-p", "a", "-q"}), 2, "tokenizer"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", dir / "hf", "--token-ids", "1,400", "-q"}), 2,
                           "expected token ids in 0..399, found 400"),
            "");
}

TEST(E2eLogits, TensorsHaveTheirNamesTypesAndShapes) {
  const auto tensors = Logits(ShippedModel(), "[[1, 17, 30, 5], [1, 9]]", {"--routing"});
  ASSERT_EQ(tensors.size(), 8u);
  EXPECT_EQ(tensors.at("0.logits").shape, (Shape{4, 4096}));
  EXPECT_EQ(tensors.at("1.logits").shape, (Shape{2, 4096}));
  EXPECT_EQ(tensors.at("0.logits").dtype, DType::kF32);
  EXPECT_EQ(tensors.at("0.router_logits").shape, (Shape{4, 4, 8}));
  EXPECT_EQ(tensors.at("1.expert_ids").shape, (Shape{4, 2, 2}));
  EXPECT_EQ(tensors.at("1.expert_ids").dtype, DType::kI32);
  EXPECT_EQ(tensors.at("1.expert_weights").shape, (Shape{4, 2, 2}));
  EXPECT_EQ(Logits(ShippedModel(), "[[1]]", {}).size(), 1u);
}

TEST(E2eLogits, RoutingIsTheSoftmaxOfTheHeaviest) {
  const auto tensors = Logits(ShippedModel(), "[[1, 17, 30, 5, 900]]", {"--routing"});
  const auto& logits = tensors.at("0.router_logits").floats;
  const auto& ids = tensors.at("0.expert_ids").ints;
  const auto& weights = tensors.at("0.expert_weights").floats;
  for (size_t row = 0; row < 4 * 5; ++row) {
    const float* x = &logits[row * 8];
    const int32_t first = ids[row * 2], second = ids[row * 2 + 1];
    for (int32_t e = 0; e < 8; ++e) {
      EXPECT_LE(x[e], x[first]);
      EXPECT_TRUE(e == first || x[e] <= x[second]);
    }
    EXPECT_NEAR(weights[row * 2], 1 / (1 + std::exp(x[second] - x[first])), 1e-6);
    EXPECT_NEAR(weights[row * 2] + weights[row * 2 + 1], 1, 1e-6);
  }
}

TEST(E2eLogits, LongPromptsAreComputedInChunks) {
  std::string ids = "1";
  for (int i = 0; i < 299; ++i) ids += "," + std::to_string(3 + i * 7 % 1000);
  const std::string beginning = ids.substr(0, ids.find(',', ids.size() / 2));
  const auto tensors = Logits(ShippedModel(), "[[" + ids + "],[" + beginning + "]]",
                              {"--compute", "exact", "--routing"});
  const auto& whole = tensors.at("0.logits");
  const auto& part = tensors.at("1.logits");
  ASSERT_EQ(whole.shape, (Shape{300, 4096}));
  ASSERT_LT(part.shape[0], 200);
  EXPECT_TRUE(std::equal(part.floats.begin(), part.floats.end(), whole.floats.begin()));
  const auto& routers = tensors.at("0.router_logits").floats;  // [4, 300, 8]
  const auto& part_routers = tensors.at("1.router_logits").floats;
  const auto rows = part_routers.size() / 4;
  for (size_t layer = 0; layer < 4; ++layer)
    EXPECT_TRUE(std::equal(&part_routers[layer * rows], &part_routers[layer * rows] + rows,
                           &routers[layer * 300 * 8]));
  EXPECT_NE(routers[(300 + 299) * 8], 0);  // the last row of a later chunk was written, too
}

TEST(E2eLogits, ExactAndFastAreCloseButNotTheSame) {
  const auto fast = Logits(ShippedModel(), "[[1, 17, 30, 5]]", {});
  const auto exact = Logits(ShippedModel(), "[[1, 17, 30, 5]]", {"--compute", "exact"});
  const auto half_kv =
      Logits(ShippedModel(), "[[1, 17, 30, 5]]", {"--compute", "exact", "--kv-type", "f16"});
  const auto& reference = exact.at("0.logits").floats;
  EXPECT_GT(MaxDifference(fast.at("0.logits").floats, reference), 0);
  EXPECT_LT(MaxDifference(fast.at("0.logits").floats, reference), 1);
  EXPECT_GT(MaxDifference(fast.at("0.logits").floats, half_kv.at("0.logits").floats), 0);
  EXPECT_GT(MaxDifference(half_kv.at("0.logits").floats, reference), 0);
  EXPECT_LT(MaxDifference(half_kv.at("0.logits").floats, reference), 0.1);
}

TEST(E2eLogits, BadPromptsNameThePromptAndLeaveNoFile) {
  const TempDir dir;
  const std::string path = dir / "ids.json";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[[1], [1, 4096]]", "prompt 1: expected token ids in 0..4095, found 4096"},
      {"[[1], [1, -1]]", "prompt 1: expected token ids from 0 on, found -1"},
      {"[[1], []]", "prompt 1: expected at least 1 token id"},
      {"[[1], [1e30]]", "$[1]"},
      {"[[1, \"a\"]]", "$[0][1]"},
      {"[1, 2]", "$[0]"},
      {"[]", "expected a list of lists"},
      {"{}", "expected a list of lists"},
      {"[[1]", path}};
  for (const auto& [json, message] : cases) {
    WriteFile(path, json);
    const Finished run =
        Mixtral({"logits", ShippedModel(), "--tokens", path, "-o", dir / "out", "-q"});
    EXPECT_EQ(RefusalProblem(run, 2, message), "") << json;
  }
  std::string too_long = "[[1";
  for (int i = 0; i < 512; ++i) too_long += ",1";
  WriteFile(path, too_long + "]]");
  EXPECT_EQ(
      RefusalProblem(Mixtral({"logits", ShippedModel(), "--tokens", path, "-o", dir / "out", "-q"}),
                     2, "expected at most 512 tokens (the model's context), found 513"),
      "");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
  WriteFile(path, "[[1]]");
  EXPECT_EQ(RefusalProblem(
                Mixtral({"logits", ShippedModel(), "--tokens", path, "-o", dir / "no/out", "-q"}),
                2, dir / "no/out"),
            "");
}

TEST(E2eLogits, OutputIsNeverAFolderOrDevice) {
  const TempDir dir;
  WriteFile(dir / "ids.json", "[[1]]");
  std::filesystem::create_directory(dir / "folder");
  std::filesystem::create_symlink("/dev/null", dir / "link");
  for (const char* name : {"folder", "link"})
    EXPECT_EQ(RefusalProblem(Mixtral({"logits", ShippedModel(), "--tokens", dir / "ids.json", "-o",
                                      dir / name}),
                             1, "-o/--output: expected the name of a file"),
              "");
}

TEST(E2eLogits, JsonSummary) {
  const TempDir dir;
  WriteFile(dir / "ids.json", "[[1, 2], [3]]");
  const Finished run = Mixtral(
      {"logits", ShippedModel(), "--tokens", dir / "ids.json", "-o", dir / "out", "--json", "-q"});
  EXPECT_EQ(run.err, "");
  const Json json = Json::Parse(run.out, "json");
  EXPECT_EQ(json.At("prompts").AsInt(), 2);
  EXPECT_EQ(json.At("tokens").AsInt(), 3);
}

/// The whole way a comparison of two engines goes, once; goldens/ has all the others.
TEST(E2eLogits, AgreesWithTheGoldens) {
  const std::string fixtures = FixturesFolder();
  if (fixtures.empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string folder = fixtures + "/tiny-mixtral";
  for (const GoldenVariant& variant : LoadGoldens(folder)) {
    if (variant.name != "exact") continue;
    Json prompts = Json::Array();
    for (const GoldenPrompt& prompt : variant.prompts) {
      Json ids = Json::Array();
      for (const int32_t id : prompt.tokens) ids.Push(id);
      prompts.Push(std::move(ids));
    }
    const auto tensors =
        Logits(folder + "/hf-sharded-f16", prompts.Dump(), {"--routing", "--compute", "exact"});
    for (size_t i = 0; i < variant.prompts.size(); ++i) {
      const std::string name = std::to_string(i);
      const GoldenPrompt& prompt = variant.prompts[i];
      EXPECT_LT(
          MaxDifference(tensors.at(name + ".logits").floats, variant.Floats(prompt, "logits")),
          1e-3);
      EXPECT_LT(MaxDifference(tensors.at(name + ".router_logits").floats,
                              variant.Floats(prompt, "router_logits")),
                1e-3);
    }
  }
}

TEST(E2eMalformed, OneLineNoCrash) {
  const std::string fixtures = FixturesFolder();
  if (fixtures.empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const std::string folder = fixtures + "/malformed/";
  const Json cases = Json::Parse(ReadFile(folder + "index.json"), "index").At("cases");
  ASSERT_GT(cases.Size(), 25u);
  for (size_t i = 0; i < cases.Size(); ++i) {
    const Json entry = cases.At(i);
    const std::string kind = entry.At("kind").AsString(), expect = entry.At("expect").AsString();
    const std::string path = folder + entry.At("path").AsString();
    Finished run;
    if (kind == "tokenizer")
      run = Mixtral({"tokenize", path, "hello"});
    else if (kind == "text")
      run = Mixtral({"tokenize", fixtures + "/tokenizer/tokenizer.model", "-f", path});
    else
      run = Mixtral({"run", path, "--token-ids", "1,17,30,5", "--temperature", "0", "-n", "8", "-q",
                     "--ignore-eos", "--compute", "exact"});
    EXPECT_EQ(run.signal, 0) << path;
    if (expect == "error")
      EXPECT_EQ(RefusalProblem(run, 2, path), "");
    else
      EXPECT_EQ(run.exit_code, 0) << path << run.err;
    if (expect == "ok") {
      const std::vector<int64_t> greedy = entry.At("greedy").AsIntArray();
      EXPECT_EQ(ParseIds(run.out), std::vector<TokenId>(greedy.begin(), greedy.end())) << path;
    }
  }
}

/// A tokenizer with more pieces than the model has rows cannot be used with it; fewer are noted.
TEST(E2eMalformed, TokenizerAndModelMustFit) {
  const std::string fixtures = FixturesFolder();
  if (fixtures.empty()) GTEST_SKIP() << "no ../shared/fixtures (or MIXTRAL_SHARED)";
  const TempDir dir;
  std::filesystem::copy(fixtures + "/tiny-mixtral/hf-bf16", dir / "tiny");
  std::filesystem::permissions(dir / "tiny", std::filesystem::perms::owner_all);
  std::filesystem::copy(fixtures + "/tokenizer/tokenizer.model", dir / "tiny/tokenizer.model");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", dir / "tiny", "-p", "a"}), 2,
                           "expected at most 512 pieces (the model's vocab_size), found 32000"),
            "");
}

}  // namespace
}  // namespace mixtral::testing
