// SPDX-License-Identifier: Apache-2.0
// Servers count text_offset from different beginnings (with and without BOS, with and without the
// space that a vocabulary puts before a text), so offsets are moved to those of the prompt.
#include "eval/endpoint_answer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

size_t LeadingSpaces(std::string_view text) {
  return std::min(text.find_first_not_of(' '), text.size());
}

/// Whether a server's first token stands before the prompt: a BOS.
bool IsBeforePrompt(std::string_view token, std::string_view prompt) {
  token.remove_prefix(LeadingSpaces(token));
  prompt.remove_prefix(LeadingSpaces(prompt));
  if (token.empty() || token.starts_with("\xEF\xBF\xBD") || token.starts_with("bytes:"))
    return false;
  return !prompt.starts_with(token);
}

/// How many characters of the server's text stand before the prompt's first one.
int64_t ShiftOf(const Json& tokens, const std::vector<int64_t>& offsets,
                const std::string& prompt) {
  size_t first = 0;
  if (offsets.size() > 1 && IsBeforePrompt(tokens.At(size_t{0}).AsString(), prompt)) first = 1;
  std::string begin;  // enough of the tokens to see how many spaces they begin with
  for (size_t i = first; i < offsets.size() && LeadingSpaces(begin) == begin.size(); ++i)
    begin += tokens.At(i).AsString();
  const auto n_spaces = static_cast<int64_t>(LeadingSpaces(begin));
  return offsets[first] + n_spaces - static_cast<int64_t>(LeadingSpaces(prompt));
}

bool IsBest(const Json& tops, size_t i, float logprob) {
  if (!tops.IsArray() || i >= tops.Size() || !tops.At(i).IsObject()) return false;
  const Json top = tops.At(i);
  for (const std::string& key : top.Keys())
    if (static_cast<float>(top.At(key).AsDouble()) > logprob) return false;
  return top.Size() > 0;
}

Json OnlyChoice(const Json& answer) {
  const Json choices = answer.At("choices");
  if (!choices.IsArray() || choices.Size() != 1)
    Throw(ErrorCode::kCorrupt, "{}: expected 1 choice", choices.path());
  return choices.At(size_t{0});
}

}  // namespace

int64_t CountCharacters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

EchoedPrompt ParseEcho(const Json& answer, const std::string& prompt) {
  const auto scores = OnlyChoice(answer).Find("logprobs");
  constexpr const char* kNone =
      "expected log-probabilities of the prompt (\"echo\" with \"logprobs\"), found none: tasks "
      "that score texts need a server that gives them";
  if (!scores || !scores->IsObject() || !scores->Find("token_logprobs"))
    Throw(ErrorCode::kUnsupported, "{}", kNone);
  const Json tokens = scores->At("tokens"), logprobs = scores->At("token_logprobs");
  EchoedPrompt echo;
  echo.offsets = scores->At("text_offset").AsIntArray();
  const size_t n = echo.offsets.size();
  if (n == 0) Throw(ErrorCode::kUnsupported, "{}", kNone);
  if (tokens.Size() != n || logprobs.Size() != n)
    Throw(ErrorCode::kCorrupt,
          "logprobs: expected lists of one length, found {} tokens, {} log-probabilities and {} "
          "offsets",
          tokens.Size(), logprobs.Size(), n);
  const Json tops = scores->Find("top_logprobs").value_or(Json());
  for (size_t i = 0; i < n; ++i) {
    const Json value = logprobs.At(i);
    float logprob = std::numeric_limits<float>::quiet_NaN();
    if (!value.IsNull()) {
      logprob = static_cast<float>(value.AsDouble());
      if (!(logprob <= 1e-3f))
        Throw(ErrorCode::kCorrupt, "{}: expected at most 0, found {}", value.path(), logprob);
    }
    echo.logprobs.push_back(logprob);
    echo.is_best.push_back(IsBest(tops, i, logprob));
  }
  const int64_t shift = ShiftOf(tokens, echo.offsets, prompt);
  for (int64_t& offset : echo.offsets) offset -= shift;
  return echo;
}

Likelihood LikelihoodAfter(const EchoedPrompt& echo, const std::string& context) {
  const int64_t begin = CountCharacters(context);
  Likelihood sum;
  sum.is_greedy = true;
  for (size_t i = 0; i < echo.offsets.size(); ++i) {
    // A token before the text (BOS) lies at a negative offset; the space that a vocabulary puts
    // before it makes the first token begin there, too.
    const bool is_first_of_text = context.empty() && !std::isnan(echo.logprobs[i]);
    if (echo.offsets[i] < begin && !is_first_of_text) continue;
    if (std::isnan(echo.logprobs[i])) continue;
    sum.logprob += static_cast<double>(echo.logprobs[i]);
    sum.is_greedy = sum.is_greedy && echo.is_best[i];
    sum.token_logprobs.push_back(echo.logprobs[i]);
  }
  sum.n_tokens = std::ssize(sum.token_logprobs);
  if (sum.n_tokens == 0)
    Throw(ErrorCode::kUnsupported,
          "logprobs: expected tokens of the continuation with log-probabilities, found none");
  return sum;
}

GeneratedAnswers ParseTexts(const Json& answer, int n) {
  const Json choices = answer.At("choices");
  if (!choices.IsArray() || choices.Size() != static_cast<size_t>(n))
    Throw(ErrorCode::kCorrupt, "{}: expected {} choices", choices.path(), n);
  GeneratedAnswers answers;
  answers.texts.resize(static_cast<size_t>(n));
  for (size_t i = 0; i < choices.Size(); ++i) {
    const Json choice = choices.At(i);
    const auto index_field = choice.Find("index");
    const auto index =
        static_cast<size_t>(index_field ? index_field->AsInt(0, n - 1) : static_cast<int64_t>(i));
    const auto message = choice.Find("message");
    // A message may have no content; a completion has its text.
    const auto text = message ? message->Find("content") : choice.At("text");
    if (text) answers.texts[index] = text->AsString();
  }
  return answers;
}

std::string RefusalOf(int status, const std::string& body) {
  std::string message = body;
  try {
    const Json json = Json::Parse(body, "the answer");
    if (const auto error = json.Find("error"))
      message = error->IsObject() ? error->At("message").AsString() : error->AsString();
  } catch (const Error&) {  // not in OpenAI's form: shown as it is
  }
  return fmt::format("status {}: {}", status, Printable(message, 300));
}

}  // namespace mixtral::eval
