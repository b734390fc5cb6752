// SPDX-License-Identifier: Apache-2.0
// Logits are asked for only where losses are: recording routing costs no output projection.
#include "observatory/text_run.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "engine/token_scores.h"

namespace mixtral::observatory {
namespace {

struct Text {
  std::string domain, text;
};

Text ReadRow(const data::RawRow& row, const data::InputFile& file, const WindowOptions& options) {
  if (!row.problem.empty()) Throw(ErrorCode::kCorrupt, "{}", row.problem);
  Text text = {.domain = file.domain, .text = row.bytes};
  if (file.kind == data::FileKind::kJsonLines) {
    const Json json = Json::Parse(row.bytes, "the row");
    text.text = json.At(options.text_field).AsString();
    if (!options.domain_field.empty()) text.domain = json.At(options.domain_field).AsString();
  }
  if (!IsValidUtf8(text.text)) Throw(ErrorCode::kCorrupt, "text: expected UTF-8");
  return text;
}

/// Appends windows of text; room: tokens that the domain still takes, reduced by what was taken.
void Cut(const Text& text, const Tokenizer& tokenizer, const WindowOptions& options, int64_t* room,
         std::vector<Window>* windows) {
  const std::vector<TokenId> ids = tokenizer.Encode(text.text, AddBos::kNo);
  std::vector<TokenId> bos;
  if (tokenizer.bos_id() >= 0) bos.push_back(tokenizer.bos_id());
  const int64_t most = options.length - std::ssize(bos);
  for (int64_t at = 0; at < std::ssize(ids) && *room > 0;) {
    const int64_t n =
        std::min({most, std::ssize(ids) - at, std::max<int64_t>(*room - std::ssize(bos), 1)});
    Window window = {.domain = text.domain, .tokens = bos};
    window.tokens.insert(window.tokens.end(), ids.begin() + at, ids.begin() + at + n);
    at += n;
    if (window.tokens.size() < 2) break;
    *room -= std::ssize(window.tokens);
    windows->push_back(std::move(window));
  }
}

constexpr int64_t kNoLimit = int64_t{1} << 60;

}  // namespace

std::vector<Window> ReadWindows(const std::vector<data::InputFile>& files,
                                const Tokenizer& tokenizer, const WindowOptions& options) {
  std::vector<Window> windows;
  std::map<std::string, int64_t> room;
  data::RowReader reader(&files);
  while (const auto row = reader.Next()) {
    const data::InputFile& file = files[row->file_idx];
    const std::string where =
        row->line == 0 ? file.path : fmt::format("{}:{}", file.path, row->line);
    const Text text = WithContext(where, [&] { return ReadRow(*row, file, options); });
    const int64_t limit = options.limit > 0 ? options.limit : kNoLimit;
    Cut(text, tokenizer, options, &room.try_emplace(text.domain, limit).first->second, &windows);
  }
  if (windows.empty())
    Throw(ErrorCode::kInvalidArgument, "--data: expected text of at least 2 tokens, found none");
  return windows;
}

std::vector<Window> CutText(const std::string& text, const std::string& domain,
                            const Tokenizer& tokenizer, const WindowOptions& options) {
  if (!IsValidUtf8(text)) Throw(ErrorCode::kCorrupt, "text: expected UTF-8");
  std::vector<Window> windows;
  int64_t room = options.limit > 0 ? options.limit : kNoLimit;
  Cut({.domain = domain, .text = text}, tokenizer, options, &room, &windows);
  if (windows.empty())
    Throw(ErrorCode::kInvalidArgument, "text: expected at least 2 tokens, found fewer");
  return windows;
}

TextRun::TextRun(Engine* engine, DType kv_type, int64_t window_length)
    : engine_(engine),
      kv_(engine->config(), {.dtype = kv_type, .n_positions = window_length}, &engine->backend()),
      seq_(*kv_.Open()),
      logits_(static_cast<size_t>(kRows) * static_cast<size_t>(engine->config().vocab_size)),
      rows_(kRows) {
  std::iota(rows_.begin(), rows_.end(), 0);
}

void TextRun::Step(std::span<const TokenId> tokens, int64_t start, const RoutingPolicy* policy,
                   ForwardObserver* observer, WantLogits want) {
  const auto n = static_cast<int>(tokens.size());
  Check(kv_.Reserve(seq_, n), "the cache was sized for a window");
  const SeqRange range = {.seq = seq_, .first_row = 0, .n_rows = n, .start = start};
  const bool wants = want == WantLogits::kYes;
  const Batch batch = {.tokens = tokens,
                       .ranges = {&range, 1},
                       .logit_rows = std::span(rows_).first(wants ? tokens.size() : 0),
                       .hidden_rows = {},
                       .policies = {&policy, 1}};
  const int64_t vocab = engine_->config().vocab_size;
  ForwardOutput output;
  if (wants) output.logits = {logits_.data(), n, vocab, vocab};
  engine_->transformer().Forward(batch, kv_, output, observer);
}

void TextRun::Route(const Window& window, const RoutingPolicy* policy, ForwardObserver* observer) {
  kv_.Truncate(seq_, 0);
  for (size_t at = 0; at < window.tokens.size(); at += kRows)
    Step(std::span(window.tokens).subspan(at, std::min<size_t>(kRows, window.tokens.size() - at)),
         static_cast<int64_t>(at), policy, observer, WantLogits::kNo);
}

double TextRun::Loss(const Window& window, const RoutingPolicy* policy) {
  kv_.Truncate(seq_, 0);
  const auto vocab = static_cast<size_t>(engine_->config().vocab_size);
  double loss = 0;
  for (size_t at = 0; at + 1 < window.tokens.size(); at += kRows) {
    const size_t n = std::min<size_t>(kRows, window.tokens.size() - 1 - at);
    Step(std::span(window.tokens).subspan(at, n), static_cast<int64_t>(at), policy, nullptr,
         WantLogits::kYes);
    for (size_t i = 0; i < n; ++i)
      loss -= static_cast<double>(
          ScoreToken(std::span(logits_).subspan(i * vocab, vocab), window.tokens[at + i + 1], 0)
              .token.logprob);
  }
  return loss;
}

}  // namespace mixtral::observatory
