// SPDX-License-Identifier: Apache-2.0
#include "eval/passkey.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

constexpr std::array<const char*, 5> kFiller = {"The grass is green.", "The sky is blue.",
                                                "The sun is yellow.", "Here we go.",
                                                "There and back again."};
constexpr int64_t kPlainAnswerTokens = 10;  // the published number
constexpr int64_t kChatAnswerTokens = 24;   // a sentence around the number
constexpr int64_t kChatMarkTokens = 24;  // for the marks that a chat format puts around a message

/// n sentences, starting with the first of the cycle.
std::string Filler(int64_t n) {
  std::string text;
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) text += ' ';
    text += kFiller[static_cast<size_t>(i) % kFiller.size()];
  }
  return text;
}

std::string PromptText(PasskeyForm form, int64_t n_before, int64_t n_after, int64_t key) {
  if (form == PasskeyForm::kPlain)
    return fmt::format(
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "
        "them. "
        "I will quiz you about the important information there.\n{}\nThe pass key is {}. Remember "
        "it. {} "
        "is the pass key.\n{}\nWhat is the pass key? The pass key is",
        Filler(n_before), key, key, Filler(n_after));
  std::vector<std::string> parts;
  if (n_before > 0) parts.push_back(Filler(n_before));
  parts.push_back(fmt::format("The pass key is {}. Remember it.", key));
  if (n_after > 0) parts.push_back(Filler(n_after));
  parts.emplace_back("What is the pass key?");
  return Join(parts, " ");
}

/// Both forms' numbers: up to 50000 as published, of five digits as the recipe's.
int64_t DrawKey(PasskeyForm form, double uniform) {
  return form == PasskeyForm::kPlain ? 1 + static_cast<int64_t>(uniform * 50000)
                                     : 10000 + static_cast<int64_t>(uniform * 90000);
}

/// The most sentences of filler with which the longest prompt of this length fits.
int64_t SentencesFor(PasskeyForm form, int64_t length, const CountTokens& count) {
  const int64_t answer =
      form == PasskeyForm::kPlain ? kPlainAnswerTokens : kChatAnswerTokens + kChatMarkTokens;
  // The first token is BOS. Where the filler is cut changes its tokens a little: two to spare.
  const auto fits = [&](int64_t n) {
    return 1 + count(PromptText(form, n / 2, n - n / 2, 50000)) + answer + 2 <= length;
  };
  if (!fits(0))
    Throw(ErrorCode::kInvalidArgument,
          "passkey: expected a length in which the question and its answer fit, found {} tokens, "
          "which is "
          "too short",
          length);
  int64_t low = 0, high = 1;
  while (fits(high)) high *= 2;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

PasskeyForm ParsePasskeyForm(const std::string& name) {
  if (name == "plain") return PasskeyForm::kPlain;
  if (name == "chat") return PasskeyForm::kChat;
  Throw(ErrorCode::kInvalidArgument, "passkey form: expected plain or chat, found \"{}\"",
        Printable(name));
}

PasskeyGrid MakePasskeyGrid(PasskeyForm form, int64_t max_tokens, int n_lengths, int n_positions) {
  if (n_lengths < 1 || n_positions < 1)
    Throw(ErrorCode::kInvalidArgument,
          "passkey: expected one length and position or more, found {} and {}", n_lengths,
          n_positions);
  PasskeyGrid grid;
  grid.form = form;
  for (int64_t i = 1; i <= n_lengths; ++i) grid.lengths.push_back(max_tokens * i / n_lengths);
  for (int i = 0; i < n_positions; ++i)
    grid.positions.push_back(n_positions == 1 ? 0.5 : static_cast<double>(i) / (n_positions - 1));
  return grid;
}

std::vector<PasskeyPrompt> MakePasskeyPrompts(const PasskeyGrid& grid, const CountTokens& count) {
  const CounterRng rng(grid.seed);
  std::vector<PasskeyPrompt> prompts;
  for (size_t l = 0; l < grid.lengths.size(); ++l) {
    const int64_t n_sentences = SentencesFor(grid.form, grid.lengths[l], count);
    for (size_t p = 0; p < grid.positions.size(); ++p)
      for (int i = 0; i < grid.n_keys; ++i) {
        PasskeyPrompt prompt = {.length_idx = l, .position_idx = p, .key = 0, .request = {}};
        prompt.key = DrawKey(grid.form, rng.Uniform(prompts.size()));
        const auto n_before = static_cast<int64_t>(
            std::llround(grid.positions[p] * static_cast<double>(n_sentences)));
        const std::string text =
            PromptText(grid.form, n_before, n_sentences - n_before, prompt.key);
        if (grid.form == PasskeyForm::kPlain) {
          prompt.request.prompt = text;
          prompt.request.max_tokens = kPlainAnswerTokens;
        } else {
          prompt.request.messages = {{.role = "user", .content = text}};
          prompt.request.max_tokens = kChatAnswerTokens;
        }
        prompts.push_back(std::move(prompt));
      }
  }
  return prompts;
}

bool IsPasskey(const std::string& answer, int64_t key) {
  const size_t begin = answer.find_first_of("0123456789");
  if (begin == std::string::npos) return false;
  int64_t number = 0;
  const char* end = answer.data() + answer.size();
  return std::from_chars(answer.data() + begin, end, number).ec == std::errc() && number == key;
}

PasskeyScores::PasskeyScores(const PasskeyGrid& grid)
    : grid_(grid),
      n_(grid.positions.size(), std::vector<int64_t>(grid.lengths.size())),
      n_right_(n_) {}

void PasskeyScores::Add(const PasskeyPrompt& prompt, const std::string& answer) {
  ++n_[prompt.position_idx][prompt.length_idx];
  n_right_[prompt.position_idx][prompt.length_idx] += IsPasskey(answer, prompt.key) ? 1 : 0;
}

double PasskeyScores::Accuracy() const {
  int64_t n = 0, n_right = 0;
  for (size_t p = 0; p < n_.size(); ++p)
    for (size_t l = 0; l < n_[p].size(); ++l) {
      n += n_[p][l];
      n_right += n_right_[p][l];
    }
  return n > 0 ? static_cast<double>(n_right) / static_cast<double>(n) : 0;
}

Json PasskeyScores::ToJson() const {
  Json lengths = Json::Array(), positions = Json::Array(), rows = Json::Array();
  for (const int64_t length : grid_.lengths) lengths.Push(length);
  for (size_t p = 0; p < grid_.positions.size(); ++p) {
    positions.Push(grid_.positions[p]);
    Json row = Json::Array();
    for (size_t l = 0; l < grid_.lengths.size(); ++l)
      row.Push(n_[p][l] > 0
                   ? Json(static_cast<double>(n_right_[p][l]) / static_cast<double>(n_[p][l]))
                   : Json());
    rows.Push(row);
  }
  Json json = Json::Object();
  json.Set("form", grid_.form == PasskeyForm::kPlain ? "plain" : "chat")
      .Set("n_keys", grid_.n_keys)
      .Set("seed", grid_.seed)
      .Set("acc", Accuracy())
      .Set("lengths", lengths)
      .Set("positions", positions)
      .Set("accuracy", rows);
  return json;
}

}  // namespace mixtral::eval
