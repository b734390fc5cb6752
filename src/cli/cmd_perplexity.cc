// SPDX-License-Identifier: Apache-2.0
// mixtral perplexity: how well a model predicts texts, here or behind an endpoint. Definitions are
// in docs/evaluation.md.
#include <algorithm>
#include <map>

#include "base/output_file.h"
#include "cli/measure_commands.h"
#include "cli/model_source.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "eval/perplexity.h"
#include "report/svg_chart.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral perplexity model.gguf -f book.txt\n"
    "  mixtral perplexity model.gguf -f heldout.jsonl --ctx 512 --chunks llama.cpp\n"
    "  mixtral perplexity mixtral-8x7b/ -f papers/ --ctx 32768 --by-length --svg curve.svg\n"
    "  mixtral perplexity -f book.txt --endpoint http://127.0.0.1:8080/v1 --model mixtral";

constexpr int64_t kBuckets = 16;  // of --by-length

struct PerplexityFlags {
  ModelSource source;
  TextSource texts;
  WindowFlags windows;
  std::optional<std::string> svg;
  bool by_length = false, json = false, quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("perplexity", "How well a model predicts texts.", kExamples);
    texts.AddTo(line);
    windows.AddTo(line);
    line.Flag("--by-length", &by_length,
              "Perplexity by tokens of context before, over windows that are full");
    line.Text("--svg", &svg, "FILE", "With --by-length: a chart");
    line.Flag("--json", &json, "Print one JSON object");
    line.Flag("-q,--quiet", &quiet, "No notes and figures on standard error");
    source.AddTo(line);
    if (!line.Parse(arguments)) return false;
    source.Check();
    if (svg && !by_length) ThrowUsage("--svg: expected --by-length with it, found none");
    if (by_length && (windows.stride > 0 || windows.chunks != "rolling"))
      ThrowUsage("--by-length: expected rolling windows without --stride");
    if (source.is_endpoint() &&
        (by_length || windows.stride > 0 || windows.limit > 0 || windows.chunks != "rolling"))
      ThrowUsage(
          "--endpoint: expected neither --by-length, --stride, --limit nor --chunks: a "
          "server's tokens are not known here");
    return true;
  }
};

/// One text as it was scored.
struct ScoredText {
  std::vector<std::vector<float>> windows;  // log-probabilities
  bool is_whole = true;                     // every token was scored
};

using ScoredTexts = std::vector<ScoredText>;

ScoredTexts ScoreHere(const PerplexityFlags& flags, const std::vector<SourceText>& texts,
                      eval::LocalModel& model) {
  struct Place {
    size_t text, window;
  };
  ScoredTexts scored(texts.size());
  std::vector<eval::TokenWindow> windows;
  std::vector<Place> places;
  int64_t total = 0, done = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<TokenId> tokens = model.tokenizer().Encode(texts[i].text, AddBos::kNo);
    tokens.insert(tokens.begin(), model.prefix_id());
    int64_t n_scored = 0;
    for (eval::TokenWindow& window : flags.windows.Cut(tokens, model.max_tokens())) {
      const bool is_full = static_cast<int64_t>(window.n_scored) == model.max_tokens();
      if (flags.by_length && !is_full) continue;
      places.push_back({i, scored[i].windows.size()});
      scored[i].windows.emplace_back();
      n_scored += static_cast<int64_t>(window.n_scored);
      windows.push_back(std::move(window));
    }
    scored[i].is_whole = n_scored == std::ssize(tokens) - 1;
    total += n_scored;
  }
  Progress progress("scoring");
  model.ScoreWindows(std::move(windows), [&](size_t i, std::span<const ScoredToken> scores) {
    std::vector<float>& logprobs = scored[places[i].text].windows[places[i].window];
    for (const ScoredToken& score : scores) logprobs.push_back(score.token.logprob);
    done += std::ssize(scores);
    if (!flags.quiet) progress.Update(done, total);
  });
  progress.Clear();
  return scored;
}

ScoredTexts ScoreThere(const PerplexityFlags& flags, const std::vector<SourceText>& texts,
                       eval::LanguageModel& model) {
  ScoredTexts scored(texts.size());
  std::vector<std::string> contents;
  for (const SourceText& text : texts) contents.push_back(text.text);
  Progress progress("scoring", "texts");
  int64_t done = 0;
  model.Roll(contents, [&](size_t i, const eval::Likelihood& likelihood) {
    scored[i].windows = {likelihood.token_logprobs};
    if (!flags.quiet) progress.Update(++done, std::ssize(texts));
  });
  progress.Clear();
  return scored;
}

/// A row of the report: a file, or all of them.
struct Row {
  eval::PerplexitySum sum;
  eval::TextSize size;
  int64_t n_texts = 0;
  bool is_whole = true;

  void Add(const SourceText& text, const ScoredText& scored) {
    for (const std::vector<float>& window : scored.windows) sum.Add(window);
    const eval::TextSize of_text = eval::SizeOf(text.text);
    size.n_bytes += of_text.n_bytes;
    size.n_words += of_text.n_words;
    ++n_texts;
    is_whole = is_whole && scored.is_whole;
  }
  Json ToJson(const std::string& name) const {
    Json json = Json::Object().Set("name", name).Set("texts", n_texts);
    const Json figures = eval::PerplexityJson(sum, is_whole ? &size : nullptr);
    for (const std::string& key : figures.Keys()) json.Set(key, figures.Find(key).value_or(Json()));
    return json;
  }
};

std::string Shown(const Json& row, std::string_view key, const char* digits = "{:.4f}") {
  const auto value = row.Find(key);
  return value ? fmt::format(fmt::runtime(digits), value->AsDouble()) : "-";
}

std::string TextOf(const Json& report) {
  std::string text;
  std::vector<Json> rows;
  for (size_t i = 0; i < report.At("files").Size(); ++i) rows.push_back(report.At("files").At(i));
  if (rows.size() > 1) rows.push_back(report.At("all"));
  for (const Json& row : rows) {
    text += fmt::format("{}: perplexity {} +/- {} over {} tokens", row.At("name").AsString(),
                        Shown(row, "perplexity"), Shown(row, "perplexity_stderr"),
                        row.At("tokens").AsInt());
    if (row.Find("bits_per_byte"))
      text += fmt::format(", {} bits per byte, byte perplexity {}, word perplexity {}",
                          Shown(row, "bits_per_byte"), Shown(row, "byte_perplexity"),
                          Shown(row, "word_perplexity", "{:.6g}"));
    text += '\n';
  }
  const auto lengths = report.Find("by_length");
  if (!lengths) return text;
  text += fmt::format("{:>15} {:>9} {:>12} {:>10} {:>12}\n", "tokens before", "tokens",
                      "perplexity", "+/-", "up to here");
  for (size_t i = 0; i < lengths->Size(); ++i) {
    const Json row = lengths->At(i);
    text += fmt::format("{:>15} {:>9} {:>12} {:>10} {:>12}\n",
                        fmt::format("{}-{}", row.At("from").AsInt(), row.At("to").AsInt()),
                        row.At("tokens").AsInt(), Shown(row, "perplexity"),
                        Shown(row, "perplexity_stderr"), Shown(row, "perplexity_up_to"));
  }
  return text;
}

Json LengthsOf(const ScoredTexts& scored, int64_t context) {
  int64_t n_buckets = kBuckets;
  while (context % n_buckets != 0) --n_buckets;
  eval::PerplexityByLength lengths(context, n_buckets);
  for (const ScoredText& text : scored)
    for (const std::vector<float>& window : text.windows) lengths.Add(window);
  return lengths.ToJson();
}

void WriteChart(const std::string& path, const Json& lengths) {
  report::LineChart chart = {.y_label = "perplexity", .series = {}, .x_label = "tokens of context"};
  for (const char* key : {"perplexity", "perplexity_up_to"}) {
    report::Series series = {
        .name = key == std::string("perplexity") ? "at this length" : "up to this length",
        .points = {},
        .has_marks = true};
    for (size_t i = 0; i < lengths.Size(); ++i)
      if (const auto value = lengths.At(i).Find(key))
        series.points.push_back({lengths.At(i).At("to").AsDouble(), value->AsDouble()});
    chart.series.push_back(std::move(series));
  }
  const std::string svg = report::DrawLines(chart);
  OutputFile file(path);
  file.Write(std::as_bytes(std::span(svg)));
  file.Finish();
}

Json ReportOf(const PerplexityFlags& flags, const std::vector<SourceText>& texts,
              const ScoredTexts& scored, const eval::LanguageModel& model) {
  std::vector<std::string> names;
  std::map<std::string, Row> rows;
  Row all;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (rows.find(texts[i].name) == rows.end()) names.push_back(texts[i].name);
    rows[texts[i].name].Add(texts[i], scored[i]);
    all.Add(texts[i], scored[i]);
  }
  if (all.sum.n() == 0)
    Throw(ErrorCode::kInvalidArgument,
          "expected a text of at least one {} of {} tokens, found none, in {}",
          flags.by_length ? "window" : "chunk", model.max_tokens(), texts.front().name);
  Json files = Json::Array();
  for (const std::string& name : names) files.Push(rows[name].ToJson(name));
  Json report = Json::Object();
  report.Set("model", model.name())
      .Set("context", model.max_tokens())
      .Set("windows", flags.source.is_endpoint() ? "endpoint" : flags.windows.chunks.c_str())
      .Set("all", all.ToJson("all"))
      .Set("files", std::move(files));
  if (flags.by_length) report.Set("by_length", LengthsOf(scored, model.max_tokens()));
  return report;
}

}  // namespace

int PerplexityCommand(Arguments arguments) {
  PerplexityFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  const std::vector<SourceText> texts = flags.texts.Read();
  const InterruptScope interrupt;
  std::unique_ptr<eval::LanguageModel> model;
  ScoredTexts scored;
  const auto start = std::chrono::steady_clock::now();
  if (flags.source.is_endpoint()) {
    model = flags.source.Open(interrupt);
    if (!interrupt.interrupted()) scored = ScoreThere(flags, texts, *model);
  } else {
    auto local = std::make_unique<eval::LocalModel>(flags.source.ToLocal(interrupt));
    if (!flags.quiet) PrintNotices(local->engine().notices());
    scored = ScoreHere(flags, texts, *local);
    model = std::move(local);
  }
  if (interrupt.interrupted()) return kExitInterrupted;
  Json report = ReportOf(flags, texts, scored, *model);
  const double seconds = Seconds(std::chrono::steady_clock::now() - start);
  report.Set("seconds", seconds);
  if (flags.svg) WriteChart(*flags.svg, report.At("by_length"));
  WriteOut(flags.json ? report.Dump() + "\n" : TextOf(report));
  const int64_t n_tokens = report.At("all").At("tokens").AsInt();
  if (!flags.quiet)
    Note("{} tokens in {:.3f} s, {:.1f} tokens/s", n_tokens, seconds,
         PerSecond(static_cast<double>(n_tokens), seconds));
  return kExitOk;
}

}  // namespace mixtral::cli
