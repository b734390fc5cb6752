// SPDX-License-Identifier: Apache-2.0
// make_fuzz_seeds OUT_DIR: writes OUT_DIR/NAME/* for every target fuzz_NAME: small valid files of
// every kind, for the fuzzer to break.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>

#include "base/json.h"
#include "base/mapped_file.h"
#include "io/test_torch.h"
#include "observatory/test_traces.h"
#include "observatory/trace_file.h"
#include "support/gguf_writer.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"
#include "text/sentencepiece_model.h"

namespace mixtral::testing {
namespace {

namespace fs = std::filesystem;

void WriteSeed(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  WriteFileAtomically(path.string(), std::as_bytes(std::span(text)));
}

/// A model of a few kilobytes.
ModelConfig SeedConfig() {
  ModelConfig config = TinyConfig();
  config.n_layers = 1;
  config.dim = config.ffn_dim = 32;
  config.n_heads = 8;
  config.head_dim = 4;
  config.vocab_size = 12;
  config.n_experts = 2;
  return config;
}

void WriteWeights(const fs::path& out) {
  const TempDir dir;
  ModelConfig config = SeedConfig();
  const TinyModel moe = MakeTinyModel(config, 1);
  config.n_experts = config.experts_per_token = 0;
  config.sliding_window = 16;
  config.tied_embeddings = true;
  const TinyModel dense = MakeTinyModel(config, 2);
  WriteHuggingFace(moe, dir / "hf", DType::kBF16, 2);
  WriteHuggingFace(moe, dir / "fused", DType::kF16, 1, {0});
  WriteHuggingFace(dense, dir / "dense", DType::kF32);
  WriteMistral(moe, dir / "native", DType::kBF16);
  WriteMistral(dense, dir / "native-dense", DType::kBF16);
  for (const char* name : {"hf", "fused", "dense", "native", "native-dense"}) {
    for (const fs::directory_entry& entry : fs::directory_iterator(dir / name)) {
      const std::string file = entry.path().filename().string();
      const std::string text = ReadTextFile(entry.path().string());
      const std::string seed = std::string(name) + "-" + file;
      if (file.ends_with(".safetensors")) WriteSeed(out / "safetensors" / seed, text);
      if (!file.ends_with(".json")) continue;
      const char kind = file == "config.json" ? 'c' : file == "params.json" ? 'p' : 'i';
      WriteSeed(out / "configs" / seed, kind + text);
    }
  }
  fs::create_directories(out / "gguf");
  const std::string gguf = (out / "gguf").string();
  WriteGguf(moe, gguf + "/merged", {.dtype = DType::kQ8_0});
  WriteGguf(moe, gguf + "/split", {.dtype = DType::kQ4_0, .experts = ExpertLayout::kSplit});
  WriteGguf(moe, gguf + "/v2", {.dtype = DType::kF16, .router = DType::kF16, .version = 2});
  WriteGguf(dense, gguf + "/dense", {.dtype = DType::kBF16});
}

void WriteTorchSeeds(const fs::path& out) {
  const TempDir dir;
  const TinyModel moe = MakeTinyModel(SeedConfig(), 1);
  WriteTorch(moe, dir / "plain", DType::kBF16, TorchLayout::kPlain);
  WriteTorch(moe, dir / "packed", DType::kF16, TorchLayout::kPacked, 2);
  WriteSeed(out / "torch_zip" / "plain", ReadTextFile(dir / "plain/consolidated.00.pth"));
  WriteSeed(out / "torch_zip" / "packed", ReadTextFile(dir / "packed/consolidated.01.pt"));
  WriteSeed(out / "configs" / "packed-params.json", "p" + ReadTextFile(dir / "packed/params.json"));
  const std::string bytes(24, 'x');
  const test::TorchTensor small = {"layers.0.block_sparse_moe.w2", "HalfStorage", {4, 3}, bytes};
  const test::TorchTensor gate = {
      "layers.0.block_sparse_moe.gate.weight", "FloatStorage", {2, 3}, bytes};
  WriteSeed(out / "torch_zip" / "small", test::TorchImage({small, gate}));
  test::PickleImage pickle;
  pickle.Op("}(");
  test::PutTensor(&pickle, small, "0");
  WriteSeed(out / "torch_zip" / "pickle", pickle.Op("u.").Build());
}

void WriteSideFiles(const fs::path& out) {
  const fs::path dir = out / "configs";
  WriteSeed(dir / "gptq",
            R"(q{"quant_method":"gptq","bits":4,"group_size":128,"sym":true,"desc_act":false,)"
            R"("checkpoint_format":"gptq_v2","dynamic":{}})");
  WriteSeed(dir / "awq", R"(q{"quant_method":"awq","w_bit":4,"q_group_size":-1,"version":"gemm"})");
  WriteSeed(dir / "fp8", R"(q{"quant_method":"fp8","fmt":"e4m3","weight_block_size":[128,128]})");
  WriteSeed(dir / "compressed",
            R"(q{"quant_method":"compressed-tensors","format":"float-quantized","config_groups":)"
            R"({"g":{"weights":{"num_bits":8,"type":"float"}}}})");
  WriteSeed(dir / "decoder",
            R"(d{"added_tokens_decoder":{"32000":{"content":"<|im_end|>","special":true}}})");
  WriteSeed(dir / "map", R"(m{"<|im_end|>":32000,"<|im_start|>":32001})");
}

/// A tokenizer.json of a few pieces; merges are every split of a piece, as converters write them.
std::string TokenizerJson() {
  const std::vector<std::string> words = {"t", "h", "e", "\xE2\x96\x81", "th", "he", "the"};
  Json vocab = Json::Object(), merges = Json::Array(), added = Json::Array();
  const std::vector<std::string> first = StandInPieces(259);
  for (size_t i = 0; i < first.size(); ++i) vocab.Set(first[i], static_cast<int64_t>(i));
  for (const std::string& word : words) {
    vocab.Set(word, static_cast<int64_t>(vocab.Size()));
    for (size_t at = 1; at < word.size(); ++at)
      if (vocab.Find(word.substr(0, at)) && vocab.Find(word.substr(at)))
        merges.Push(word.substr(0, at) + " " + word.substr(at));
  }
  for (const int id : {0, 1, 2})
    added.Push(Json::Object()
                   .Set("id", id)
                   .Set("content", first[static_cast<size_t>(id)])
                   .Set("special", true));
  added.Push(Json::Object()
                 .Set("id", static_cast<int64_t>(vocab.Size()))
                 .Set("content", "<tool>")
                 .Set("special", false));
  Json pre_tokenizer = Json::Object();
  pre_tokenizer.Set("type", "Metaspace").Set("replacement", "\xE2\x96\x81");
  pre_tokenizer.Set("prepend_scheme", "first").Set("split", false);
  Json model = Json::Object();
  model.Set("type", "BPE").Set("unk_token", "<unk>").Set("byte_fallback", true);
  model.Set("vocab", vocab).Set("merges", merges);
  Json json = Json::Object();
  json.Set("added_tokens", added).Set("pre_tokenizer", pre_tokenizer).Set("model", model);
  return json.Dump();
}

/// The same vocabulary as tokenizer.model and inside a GGUF file.
void WriteVocabularies(const fs::path& out) {
  VocabularyLists lists;
  lists.tokens = StandInPieces(340);
  lists.scores.assign(lists.tokens.size(), 0.0f);
  lists.types.assign(lists.tokens.size(), 1);
  for (size_t i = 0; i < lists.tokens.size(); ++i) {
    if (i < 259) lists.types[i] = i == 0 ? 2 : i < 3 ? 3 : 6;
    if (i >= 259) lists.scores[i] = -static_cast<float>(i - 259);
  }
  lists.bos_id = 1;
  lists.eos_id = 2;
  Vocabulary vocabulary = VocabularyFromLists(lists);
  WriteSeed(out / "tokenizer" / "bpe.model", SerializeSentencePieceModel(vocabulary));
  vocabulary.kind = VocabularyKind::kUnigram;
  vocabulary.add_dummy_prefix = false;
  WriteSeed(out / "tokenizer" / "unigram.model", SerializeSentencePieceModel(vocabulary));
  WriteSeed(out / "tokenizer" / "tokenizer.json", TokenizerJson());
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", lists.tokens);
  writer.AddF32s("tokenizer.ggml.scores", lists.scores);
  writer.AddI32s("tokenizer.ggml.token_type", lists.types);
  writer.AddU32("tokenizer.ggml.bos_token_id", 1);
  writer.AddBool("tokenizer.ggml.add_space_prefix", false);
  writer.Write((out / "tokenizer" / "gguf").string());
  writer.Write((out / "gguf" / "vocabulary").string());
}

void WriteTemplates(const fs::path& out) {
  const fs::path dir = out / "chat_template";
  WriteSeed(dir / "turns",
            "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + "
            "m['content'] | trim + ' [/INST]' }}{% elif m.role == 'assistant' %}{{ m.content + "
            "eos_token }}{% else %}{{ raise_exception('only ' ~ loop.index0) }}{% endif %}{% "
            "endfor %}");
  WriteSeed(dir / "namespace",
            "{%- set ns = namespace(n=0, text='') -%}{% for m in messages if m.role != 'system' "
            "-%}{% set ns.n = ns.n + 1 %}{{ loop.first and 'a' or loop.last }}{% endfor %}"
            "{{ ns.n * 3 // 2 % 5 }}{{ messages[1:][-1]['content'][::-1] }}");
  WriteSeed(dir / "tools",
            "{% macro show(t, n=2) %}{{ t | tojson(indent=n) }}{% endmacro %}{% if tools is "
            "defined and tools is not none %}{% for t in tools %}{{ show(t) }}{% endfor %}{% endif "
            "%}{{ (messages | length) ~ messages | selectattr('role', 'equalto', 'user') | list | "
            "first }}{# note #}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}");
}

void WriteRequestSeeds(const fs::path& out) {
  const fs::path dir = out / "requests";
  WriteSeed(
      dir / "chat",
      "b{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
      "[{\"type\":\"text\",\"text\":\"hi\"}]},{\"role\":\"assistant\",\"content\":null,"
      "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
      "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"4\"},"
      "{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{\"type\":\"function\",\"function\":"
      "{\"name\":\"f\",\"parameters\":{}}}]}");
  WriteSeed(dir / "fields",
            "b{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"n\":2,"
            "\"temperature\":0.5,\"top_p\":0.9,\"top_k\":4,\"logit_bias\":{\"5\":-100},\"seed\":1,"
            "\"stop\":[\"a\"],\"stop_token_ids\":[1],\"routing\":{\"return\":true,\"force\":[1],"
            "\"ban\":[2],\"encoding\":\"arrays\"},\"response_format\":{\"type\":\"text\"}}");
  WriteSeed(
      dir / "calls",
      "t[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": \"]}\"}, \"id\": \"123456789\"}]");
}

void WriteTraceSeeds(const fs::path& out) {
  namespace observatory = mixtral::observatory;
  const std::string header = observatory::EncodeHeader(observatory::testing::SmallInfo(2));
  const observatory::TraceSequence sequence = observatory::testing::Sequence(
      "en", {7, 8}, {{0, 1, 3, 2}, {3, 2, 1, observatory::kNoExpert}});
  WriteSeed(out / "routing_trace" / "two",
            header + observatory::EncodePiece(7, "the") + observatory::EncodeSequence(sequence) +
                observatory::EncodeSequence(sequence) + observatory::EncodeEnd(2));
  WriteSeed(out / "routing_trace" / "none", header + observatory::EncodeEnd(0));
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_fuzz_seeds OUT_DIR\n", stderr);
    return 1;
  }
  try {
    WriteWeights(argv[1]);
    WriteTorchSeeds(argv[1]);
    WriteSideFiles(argv[1]);
    WriteVocabularies(argv[1]);
    WriteTemplates(argv[1]);
    WriteRequestSeeds(argv[1]);
    WriteTraceSeeds(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_fuzz_seeds: %s\n", error.what());
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace mixtral::testing

int main(int argc, char** argv) { return mixtral::testing::Main(argc, argv); }
