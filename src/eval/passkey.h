// SPDX-License-Identifier: Apache-2.0
// Passkey retrieval (Mohtashami and Jaggi, "Landmark Attention", 2023; figure 4 left of the Mixtral
// paper): a number hidden at some place of a text without meaning, asked for at its end. Prompts
// over a grid of lengths and places, answers scored by their first number.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/language_model.h"

namespace mixtral::eval {

enum class PasskeyForm : uint8_t {
  kPlain,  // the published prompt, to be continued
  kChat,   // one message, as recipes/tiny-multilingual trains its model
};

/// Throws Error{kInvalidArgument} for a name that is neither "plain" nor "chat".
PasskeyForm ParsePasskeyForm(const std::string& name);

struct PasskeyGrid {
  PasskeyForm form = PasskeyForm::kPlain;
  std::vector<int64_t> lengths;   // tokens of prompt and answer together; ascending
  std::vector<double> positions;  // share of the text before the number: 0 to 1, ascending
  int n_keys = 5;                 // prompts of a cell, each with a number of its own
  uint64_t seed = 1;
};

/// n_lengths equal steps up to max_tokens and n_positions places from the beginning to the end.
PasskeyGrid MakePasskeyGrid(PasskeyForm form, int64_t max_tokens, int n_lengths, int n_positions);

struct PasskeyPrompt {
  size_t length_idx = 0, position_idx = 0;
  int64_t key = 0;
  GenerationRequest request;
};

using CountTokens = std::function<int64_t(const std::string& text)>;

/// Prompts in order of length, position and key; the same grid gives the same prompts. A prompt has
/// as many sentences of filler as fit its length with the answer. Throws Error{kInvalidArgument}
/// naming a length in which not even the question fits.
std::vector<PasskeyPrompt> MakePasskeyPrompts(const PasskeyGrid& grid, const CountTokens& count);

/// Whether the first number in the answer is the key.
bool IsPasskey(const std::string& answer, int64_t key);

class PasskeyScores {
 public:
  explicit PasskeyScores(const PasskeyGrid& grid);
  void Add(const PasskeyPrompt& prompt, const std::string& answer);
  double Accuracy() const;
  /// {"lengths": [...], "positions": [...], "accuracy": [position][length], "n_keys": N, "acc": A};
  /// a cell without answers is null.
  Json ToJson() const;

 private:
  PasskeyGrid grid_;
  std::vector<std::vector<int64_t>> n_, n_right_;  // [position][length]
};

}  // namespace mixtral::eval
