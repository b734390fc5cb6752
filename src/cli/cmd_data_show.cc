// SPDX-License-Identifier: Apache-2.0
// `mixtral data report|inspect|tokenizer`: what shards hold, and the tokenizer that makes them.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"
#include "cli/cmd_data.h"
#include "cli/command_line.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/shards_report.h"
#include "data/shard_set.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_trainer.h"

namespace mixtral::cli {
namespace {

void VerifyShards(const std::string& folder) {
  const data::ShardSet set = data::ReadShardSet(folder);
  const data::TokenizerFile file = data::ReadTokenizerFile(folder + "/" + set.tokenizer_file);
  if (file.sha256 != set.tokenizer_sha256)
    Throw(ErrorCode::kCorrupt, "sha256: expected {}, found {}, in {}/{}", set.tokenizer_sha256,
          file.sha256, folder, set.tokenizer_file);
  Progress progress("checking", "shards");
  for (size_t i = 0; i < set.shards.size(); ++i) {
    data::MappedShard(folder, set, set.shards[i]).Verify();
    progress.Update(static_cast<int64_t>(i + 1), static_cast<int64_t>(set.shards.size()));
  }
}

/// Tokens as text with control pieces by name.
std::string TextOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  std::string text;
  std::vector<TokenId> run;
  const auto flush = [&] {
    text += tokenizer.Decode(run);
    run.clear();
  };
  for (const TokenId id : tokens) {
    if (tokenizer.Type(id) != PieceType::kControl) {
      run.push_back(id);
      continue;
    }
    flush();
    text += tokenizer.Piece(id);
  }
  flush();
  return text;
}

/// Runs of equal mask, a line each: "train | text".
std::string MaskedText(const Tokenizer& tokenizer, std::span<const TokenId> tokens,
                       std::span<const uint8_t> mask) {
  std::string text;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin;
    while (end < tokens.size() && mask[end] == mask[begin]) ++end;
    text += fmt::format("{} {:>5} | {}\n", mask[begin] != 0 ? "loss" : "    ", end - begin,
                        Printable(TextOf(tokenizer, tokens.subspan(begin, end - begin)), 100000));
    begin = end;
  }
  return text;
}

struct InspectFlags {
  std::string folder;
  std::optional<std::string> shard, domain;
  int64_t document = 0, count = 3;
  bool json = false;
};

Json DocumentJson(const data::ShardInfo& info, uint64_t document, std::span<const TokenId> tokens,
                  std::span<const uint8_t> mask, const Tokenizer& tokenizer) {
  Json ids = Json::Array(), marks = Json::Array();
  for (const TokenId id : tokens) ids.Push(id);
  for (const uint8_t mark : mask) marks.Push(static_cast<int>(mark));
  Json json = Json::Object();
  json.Set("shard", info.name)
      .Set("document", document)
      .Set("domain", info.domain)
      .Set("split", data::SplitName(info.split))
      .Set("text", TextOf(tokenizer, tokens))
      .Set("tokens", std::move(ids));
  if (!mask.empty()) json.Set("mask", std::move(marks));
  return json;
}

void InspectShard(const InspectFlags& flags, const data::ShardSet& set, const data::ShardInfo& info,
                  const Tokenizer& tokenizer) {
  const data::MappedShard shard(flags.folder, set, info);
  if (flags.document >= static_cast<int64_t>(shard.n_documents()) && flags.shard)
    ThrowUsage("--document: expected 0..{} in {}, found {}", shard.n_documents() - 1, info.name,
               flags.document);
  const uint64_t first = static_cast<uint64_t>(flags.document);
  const uint64_t last = std::min(shard.n_documents(), first + static_cast<uint64_t>(flags.count));
  for (uint64_t i = first; i < last; ++i) {
    const std::vector<TokenId> tokens = shard.Tokens(i);
    const std::span<const uint8_t> mask = shard.Mask(i);
    if (flags.json) {
      WriteOut(DocumentJson(info, i, tokens, mask, tokenizer).Dump() + "\n");
      continue;
    }
    WriteOut(fmt::format("--- {} document {}: {} tokens\n", info.name, i, tokens.size()));
    WriteOut(mask.empty() ? TextOf(tokenizer, tokens) + "\n" : MaskedText(tokenizer, tokens, mask));
  }
}

struct TokenizerFlags {
  std::vector<std::string> data, symbols, controls;
  std::optional<std::string> out, text_field;
  int vocab_size = 32000, max_piece = 16, sample_mb = 100;
  float coverage = 0.9999F;

  bool Parse(Arguments arguments) {
    CommandLine line(
        "data tokenizer",
        "Trains a SentencePiece BPE tokenizer: byte fallback, single digits, no normalisation, ids "
        "0 1 2 are <unk> <s> </s>, the next 256 are bytes. The same inputs give the same file.",
        "  mixtral data tokenizer --data en='books/*.txt' --data fr=livres/ --vocab-size 8000 -o "
        "tok\n"
        "  mixtral data tokenizer -d en=en.jsonl --control '[INST]' --control '[/INST]' -o tok\n");
    line.WithoutSettings();
    line.TextList("-d,--data", &data, "DOMAIN=FILES",
                  "A domain's files: a file, a folder or a glob; may be repeated");
    line.Text("-o,--out", &out, "DIR", "The folder for tokenizer.model");
    line.Int("--vocab-size", &vocab_size, {300, 1 << 20}, "Pieces in all (default 32000)");
    line.TextList("--symbol", &symbols, "PIECE", "A piece that is never split; may be repeated");
    line.TextList("--control", &controls, "PIECE",
                  "A control piece such as [INST], which text never becomes; may be repeated");
    line.Text("--text-field", &text_field, "NAME", "The text of a JSONL row (default text)");
    line.Real("--coverage", &coverage, {0.5, 1},
              "Part of the characters that get a piece; the others are bytes (default 0.9999)");
    line.Int("--max-piece", &max_piece, {1, 512}, "Characters of the longest piece (default 16)");
    line.Int("--sample-mb", &sample_mb, {1, 100000},
             "Text to train on in MB, equal shares for all domains (default 100)");
    if (!line.Parse(arguments)) return false;
    if (data.empty()) ThrowUsage("data tokenizer: expected --data DOMAIN=FILES");
    if (!out || out->empty()) ThrowUsage("data tokenizer: expected -o DIR");
    return true;
  }
};

}  // namespace

int DataReportCommand(Arguments arguments) {
  std::string folder;
  bool json = false, verify = false;
  CommandLine line("data report", "What a folder of token shards holds, by domain.",
                   "  mixtral data report shards\n"
                   "  mixtral data report shards --verify --json\n");
  line.WithoutSettings();
  line.Required("DIR", &folder, "The folder");
  line.Flag("--verify", &verify, "Read everything and compare with the checksums");
  line.Flag("--json", &json, "Print one JSON object");
  if (!line.Parse(arguments)) return kExitOk;
  if (verify) VerifyShards(folder);
  const Json report = MakeShardsReport(folder);
  WriteOut(json ? report.Dump() + "\n" : ShardsReportText(report));
  return kExitOk;
}

int DataInspectCommand(Arguments arguments) {
  InspectFlags flags;
  CommandLine line(
      "data inspect",
      "Shows documents of a folder of token shards as text; where there is a mask, run "
      "by run with 'loss' before what is trained on.",
      "  mixtral data inspect shards --domain fr --count 1\n"
      "  mixtral data inspect sft-shards --shard chat-train-00000 --document 7\n");
  line.WithoutSettings();
  line.Required("DIR", &flags.folder, "The folder");
  line.Text("--shard", &flags.shard, "NAME", "Only this shard");
  line.Text("--domain", &flags.domain, "NAME", "Only shards of this domain");
  line.Int("--document", &flags.document, {0, int64_t{1} << 48}, "The first document (default 0)");
  line.Int("--count", &flags.count, {1, int64_t{1} << 48}, "Documents of each shard (default 3)");
  line.Flag("--json", &flags.json, "A JSON object a line: text, tokens, mask");
  if (!line.Parse(arguments)) return kExitOk;
  const data::ShardSet set = data::ReadShardSet(flags.folder);
  const data::TokenizerFile file = data::ReadTokenizerFile(flags.folder + "/" + set.tokenizer_file);
  if (file.tokenizer.vocab_size() != set.vocab_size)
    Throw(ErrorCode::kCorrupt, "tokenizer: expected {} pieces, found {}, in {}", set.vocab_size,
          file.tokenizer.vocab_size(), flags.folder);
  bool found = false;
  for (const data::ShardInfo& info : set.shards) {
    if ((flags.shard && info.name != *flags.shard) ||
        (flags.domain && info.domain != *flags.domain))
      continue;
    found = true;
    InspectShard(flags, set, info, file.tokenizer);
  }
  if (!found)
    ThrowUsage("data inspect: no such shard in {} (see 'mixtral data report')", flags.folder);
  return kExitOk;
}

int DataTokenizerCommand(Arguments arguments) {
  TokenizerFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  data::TokenizerTrainOptions options;
  options.inputs = data::ListInputs(flags.data);
  options.text_field = flags.text_field.value_or("text");
  options.vocab_size = flags.vocab_size;
  options.symbols = flags.symbols;
  options.controls = flags.controls;
  options.character_coverage = flags.coverage;
  options.max_piece_characters = flags.max_piece;
  options.sample_bytes = static_cast<uint64_t>(flags.sample_mb) * 1000000;
  Progress progress("reading text", "B");
  options.on_progress = [&](uint64_t done, uint64_t total) {
    progress.Update(static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  const data::TrainedTokenizer trained = data::TrainTokenizer(options);
  progress.Clear();
  if (trained.n_wrong_rows > 0) Note("{} wrong rows were left out", trained.n_wrong_rows);
  const Tokenizer tokenizer =
      Tokenizer::FromSentencePiece(trained.model);  // as others will read it
  std::error_code error;
  std::filesystem::create_directories(*flags.out, error);
  if (error) Throw(ErrorCode::kIo, "{}: cannot be made: {}", *flags.out, error.message());
  const std::string path = *flags.out + "/tokenizer.model";
  WriteFileAtomically(path, std::as_bytes(std::span(trained.model)));
  WriteOut(fmt::format("{}: {} pieces, trained on {} of text\n", path, tokenizer.vocab_size(),
                       HumanBytes(trained.n_text_bytes)));
  return kExitOk;
}

}  // namespace mixtral::cli
