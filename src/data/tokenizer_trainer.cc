// SPDX-License-Identifier: Apache-2.0
// Which documents are sampled depends on a hash of their text alone, so a domain's share does not
// favour what comes first. Two passes over the input: how much there is, then the sample.
#include "data/tokenizer_trainer.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "data/words.h"

namespace mixtral::data {
namespace {

constexpr size_t kMaxLine = 4000;  // the library drops sentences above 4192 bytes

/// Calls on_text(domain, text) for every usable row. Returns the number of wrong ones.
uint64_t ForEachText(const TokenizerTrainOptions& options,
                     const std::function<void(const std::string&, const std::string&)>& on_text,
                     const std::function<void(uint64_t)>& on_bytes) {
  RowReader reader(&options.inputs);
  uint64_t n_wrong = 0;
  while (const auto row = reader.Next()) {
    const InputFile& file = options.inputs[row->file_idx];
    try {
      if (!row->problem.empty()) Throw(ErrorCode::kInvalidArgument, "{}", row->problem);
      std::string text = row->bytes;
      if (file.kind == FileKind::kJsonLines)
        text = Json::Parse(row->bytes, "the row").At(options.text_field).AsString();
      if (!IsValidUtf8(text)) Throw(ErrorCode::kCorrupt, "expected UTF-8 text");
      on_text(file.domain, text);
    } catch (const Error&) {
      ++n_wrong;
    }
    on_bytes(reader.n_file_bytes());
  }
  return n_wrong;
}

double Draw(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return std::ldexp(static_cast<double>(MixBits(hash) >> 11), -53);
}

/// Lines of text, long ones cut after a space where there is one.
void AddLines(std::string_view text, std::vector<std::string>* lines) {
  for (std::string_view line : Split(text, '\n')) {
    while (line.size() > kMaxLine) {
      size_t cut = line.substr(0, kMaxLine).rfind(' ');
      if (cut == std::string_view::npos || cut == 0)
        cut = CompleteUtf8Prefix(line.substr(0, kMaxLine));
      lines->emplace_back(line.substr(0, cut));
      line.remove_prefix(cut);
    }
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines->emplace_back(line);
  }
}

class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>* lines) : lines_(lines) {}
  bool done() const override { return at_ == lines_->size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return (*lines_)[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>* lines_;
  size_t at_ = 0;
};

std::string CommaList(const std::vector<std::string>& symbols, const char* what) {
  for (const std::string& symbol : symbols)
    if (symbol.empty() || symbol.find_first_of(",\"\n\r") != std::string::npos ||
        !IsValidUtf8(symbol))
      Throw(ErrorCode::kInvalidArgument,
            "{}: expected a piece without comma, quote or line feed, found '{}'", what,
            Printable(symbol));
  return Join(symbols, ",");
}

std::unordered_map<std::string, std::string> Settings(const TokenizerTrainOptions& options) {
  return {{"model_type", "bpe"},
          {"vocab_size", std::to_string(options.vocab_size)},
          {"byte_fallback", "true"},
          {"split_digits", "true"},
          {"normalization_rule_name", "identity"},
          {"remove_extra_whitespaces", "false"},
          {"add_dummy_prefix", "true"},
          {"allow_whitespace_only_pieces", "true"},
          {"character_coverage", fmt::format("{}", options.character_coverage)},
          {"max_sentencepiece_length", std::to_string(options.max_piece_characters)},
          {"user_defined_symbols", CommaList(options.symbols, "symbol")},
          {"control_symbols", CommaList(options.controls, "control piece")},
          {"unk_id", "0"},
          {"bos_id", "1"},
          {"eos_id", "2"},
          {"pad_id", "-1"},
          {"num_threads", "4"},  // the model records it, so it may not depend on the machine
          {"minloglevel", "3"}};
}

}  // namespace

TrainedTokenizer TrainTokenizer(const TokenizerTrainOptions& options) {
  std::map<std::string, uint64_t> domain_bytes;
  uint64_t total_bytes = 0;
  for (const InputFile& file : options.inputs) total_bytes += file.n_bytes;
  const auto report = [&](uint64_t done) {
    if (options.on_progress) options.on_progress(std::min(done, 2 * total_bytes), 2 * total_bytes);
  };
  TrainedTokenizer trained;
  trained.n_wrong_rows = ForEachText(
      options, [&](const auto& domain, const auto& text) { domain_bytes[domain] += text.size(); },
      report);
  std::vector<std::string> lines;
  ForEachText(
      options,
      [&](const std::string& domain, const std::string& text) {
        const double share =
            static_cast<double>(options.sample_bytes) / static_cast<double>(domain_bytes.size());
        if (Draw(text) >= share / static_cast<double>(domain_bytes[domain])) return;
        trained.n_text_bytes += text.size();
        AddLines(text, &lines);
      },
      [&](uint64_t done) { report(total_bytes + done); });
  if (lines.empty())
    Throw(ErrorCode::kInvalidArgument, "tokenizer: expected text, found none in {} files",
          options.inputs.size());
  Lines iterator(&lines);
  const auto status =
      sentencepiece::SentencePieceTrainer::Train(Settings(options), &iterator, &trained.model);
  if (!status.ok())
    Throw(ErrorCode::kInvalidArgument, "tokenizer: cannot be trained on {} of text: {}",
          HumanBytes(trained.n_text_bytes), Printable(status.ToString(), 300));
  return trained;
}

}  // namespace mixtral::data
