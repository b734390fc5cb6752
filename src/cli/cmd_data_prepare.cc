// SPDX-License-Identifier: Apache-2.0
// `mixtral data prepare|sft|preferences`: one pipeline with three kinds of rows.
#include <memory>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "cli/chat_format.h"
#include "cli/cmd_data.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/shards_report.h"
#include "data/prepare.h"
#include "data/row_encoders.h"
#include "data/tokenizer_file.h"

namespace mixtral::cli {
namespace {

constexpr int kMaxShownRows = 20;

/// What the three actions share.
struct PrepareFlags {
  std::vector<std::string> data, exclude;
  std::optional<std::string> tokenizer, out;
  float heldout = 0.01F, near_threshold = 0.8F;
  int workers = AvailableCpus();
  int64_t shard_tokens = int64_t{1} << 28;
  bool strict = false, restart = false, json = false;

  void AddTo(CommandLine& line) {
    line.WithoutSettings();
    line.Group("Input");
    line.TextList("-d,--data", &data, "DOMAIN=FILES",
                  "A domain's files: a file, a folder or a glob; may be repeated");
    line.Text("-t,--tokenizer", &tokenizer, "PATH",
              "A tokenizer.model or tokenizer.json, or a folder with one");
    line.TextList("--exclude", &exclude, "PATH",
                  "Drop rows that share 13 words in a row with these files or folders");
    line.Flag("--strict", &strict,
              "A wrong row is an error (default: it is reported and left out)");
    line.Group("Output");
    line.Text("-o,--out", &out, "DIR", "The folder for the shards");
    line.Real("--heldout", &heldout, {0, 1},
              "Part of the documents kept for evaluation, chosen by hash (default 0.01)");
    line.Int("--shard-tokens", &shard_tokens, {1, int64_t{1} << 40},
             "A shard ends when it has this many tokens (default 268435456)");
    line.Flag("--restart", &restart, "Throw away what the folder holds and begin anew");
    line.Int("-j,--workers", &workers, {1, 1024}, "Threads; the result is the same for any number");
    line.Flag("--json", &json, "Print the report as one JSON object");
  }

  void Check(const std::string& action) const {
    if (data.empty()) ThrowUsage("data {}: expected --data DOMAIN=FILES", action);
    if (!tokenizer) ThrowUsage("data {}: expected --tokenizer PATH", action);
    if (!out || out->empty()) ThrowUsage("data {}: expected -o DIR", action);
  }
};

void ReportBadRow(std::string_view line, Progress* progress, int* n_rows) {
  if (++*n_rows > kMaxShownRows) return;
  progress->Clear();
  Note("{}", Printable(line, 500));
}

data::PrepareOptions MakeOptions(const PrepareFlags& flags, const data::TokenizerFile& file,
                                 data::ShardKind kind) {
  data::PrepareOptions options;
  options.inputs = data::ListInputs(flags.data);
  options.set.kind = kind;
  options.set.vocab_size = file.tokenizer.vocab_size();
  options.set.bos_id = file.tokenizer.bos_id();
  options.set.eos_id = file.tokenizer.eos_id();
  options.set.tokenizer_file = file.name;
  options.set.tokenizer_sha256 = file.sha256;
  options.tokenizer_bytes = file.bytes;
  options.folder = *flags.out;
  options.n_workers = flags.workers;
  options.heldout = flags.heldout;
  options.near_threshold = flags.near_threshold;
  options.max_shard_tokens = static_cast<uint64_t>(flags.shard_tokens);
  options.strict = flags.strict ? data::Strict::kYes : data::Strict::kNo;
  options.restart = flags.restart ? data::Restart::kYes : data::Restart::kNo;
  return options;
}

int RunPreparation(const PrepareFlags& flags, data::PrepareOptions options) {
  data::OverlapFilter exclude;
  for (const std::string& path : flags.exclude) exclude.AddFiles(path);
  exclude.Finish();
  if (!flags.exclude.empty()) {
    options.exclude = &exclude;
    Note("{} 13-grams to exclude; {} shorter texts cannot be looked for", exclude.n_grams(),
         exclude.n_short());
  }
  const InterruptScope interrupt;
  Progress progress("preparing", "B");
  int n_bad_rows = 0;
  options.cancelled = interrupt.flag();
  options.on_bad_row = [&](std::string_view line) { ReportBadRow(line, &progress, &n_bad_rows); };
  options.on_progress = [&](uint64_t done, uint64_t total) {
    progress.Update(static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  const data::PrepareOutcome outcome = data::Prepare(options);
  progress.Clear();
  if (outcome == data::PrepareOutcome::kCancelled) {
    Note("interrupted; the same command goes on from here");
    return kExitInterrupted;
  }
  if (n_bad_rows > kMaxShownRows)
    Note("... and {} more wrong rows (in {}/prepare.json)", n_bad_rows - kMaxShownRows, *flags.out);
  if (outcome == data::PrepareOutcome::kWasDone)
    Note("{} is complete already; --restart makes it anew", *flags.out);
  const Json report = MakeShardsReport(*flags.out);
  WriteOut(flags.json ? report.Dump() + "\n" : ShardsReportText(report));
  return kExitOk;
}

/// How chats are written: a known format, or a Jinja template's file.
struct ChatFormatFlags {
  std::string format;
  std::optional<std::string> template_file;

  void AddTo(CommandLine& line) {
    line.Group("Chat");
    AddChatFormat(line, &format);
    line.Text("--chat-template", &template_file, "FILE",
              "A Jinja template; the format is then 'template'");
  }
  ChatTemplate Make(const Tokenizer& tokenizer) const {
    const std::string name = template_file ? "template" : format;
    return ChooseChat(name, tokenizer, "--chat-template",
                      [&]() -> std::optional<std::string> {
                        if (!template_file) return std::nullopt;
                        return ReadTextFile(*template_file);
                      })
        .chat_template;
  }
};

int PrepareChats(Arguments arguments, data::ShardKind kind, const std::string& action,
                 const std::string& description, const std::string& examples) {
  PrepareFlags flags;
  flags.near_threshold = 0;
  ChatFormatFlags chat;
  CommandLine line("data " + action, description, examples);
  flags.AddTo(line);
  chat.AddTo(line);
  if (!line.Parse(arguments)) return kExitOk;
  flags.Check(action);
  const data::TokenizerFile file = data::ReadTokenizerFile(*flags.tokenizer);
  const ChatTemplate chat_template = chat.Make(file.tokenizer);
  data::PrepareOptions options = MakeOptions(flags, file, kind);
  options.set.chat_format = ChatFormatName(chat_template.format());
  options.encoder_name = options.set.chat_format;
  if (chat.template_file) options.encoder_name += ": " + ReadTextFile(*chat.template_file);
  options.encode = kind == data::ShardKind::kSft ? data::MakeChatEncoder(&chat_template)
                                                 : data::MakePreferenceEncoder(&chat_template);
  return RunPreparation(flags, std::move(options));
}

}  // namespace

int DataPrepareCommand(Arguments arguments) {
  PrepareFlags flags;
  std::string text_field = "text";
  std::optional<std::string> field;
  CommandLine line(
      "data prepare",
      "Makes token shards for pretraining from text files (one document each) and JSONL (.jsonl, "
      ".ndjson; one document a line), plain or compressed with gzip or zstd. Equal and nearly "
      "equal "
      "documents are dropped but the first. Killed or interrupted, it goes on where it was when "
      "the "
      "same command is given again.",
      "  mixtral data prepare --data en='books/*.txt' --data fr=livres.jsonl.zst -t tok -o shards\n"
      "  mixtral data prepare -d code=src/ -t tokenizer.model -o shards --exclude eval-data/\n");
  flags.AddTo(line);
  line.Group("Text");
  line.Text("--text-field", &field, "NAME", "The text of a JSONL row (default text)");
  line.Real("--near-duplicates", &flags.near_threshold, {0, 1},
            "Drop documents that are at least this similar to an earlier one (default 0.8; 0: only "
            "equal ones)");
  if (!line.Parse(arguments)) return kExitOk;
  flags.Check("prepare");
  if (field) text_field = *field;
  const data::TokenizerFile file = data::ReadTokenizerFile(*flags.tokenizer);
  data::PrepareOptions options = MakeOptions(flags, file, data::ShardKind::kText);
  options.encoder_name = "text field " + text_field;
  options.encode = data::MakeTextEncoder(&file.tokenizer, text_field);
  return RunPreparation(flags, std::move(options));
}

int DataSftCommand(Arguments arguments) {
  return PrepareChats(
      arguments, data::ShardKind::kSft, "sft",
      "Makes token shards for supervised fine-tuning from chat JSONL: {\"messages\": [{\"role\", "
      "\"content\"}]} or ShareGPT's {\"conversations\": [{\"from\", \"value\"}]}. The loss is on "
      "the "
      "assistant's tokens only.",
      "  mixtral data sft --data chat=chats.jsonl -t tokenizer.model -o sft-shards\n"
      "  mixtral data sft -d chat='*.jsonl.gz' -t model/ --chat-format chatml -o sft-shards\n");
}

int DataPreferencesCommand(Arguments arguments) {
  return PrepareChats(
      arguments, data::ShardKind::kPreference, "preferences",
      "Makes token shards for DPO from JSONL rows with prompt, chosen and rejected: texts, or "
      "lists "
      "of messages. The loss is on the last answer only.",
      "  mixtral data preferences --data pairs=pairs.jsonl -t tokenizer.model -o dpo-shards\n");
}

}  // namespace mixtral::cli
