// SPDX-License-Identifier: Apache-2.0
// The variables that the evaluator's tests see. For tests only.
#pragma once

#include "text/jinja/json_text.h"
#include "text/jinja/template.h"
#include "text/test_vocabulary.h"

namespace mixtral::jinja::test {

inline Globals SomeGlobals() {
  const std::optional<Value> all = ParseJson(R"({
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " Hi <b> "},
                 {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "Bye"}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "tools": null,
    "n": 3, "f": 2.5, "e": "", "u": "h\u00e9llo \u4e2d\u6587", "t": true,
    "d": {"a": 1, "b": [1, 2, {"c": null}], "items": 5}})");
  Globals globals;
  for (const auto& [name, value] : all->dict()) globals.emplace_back(name, value);
  return globals;
}

/// "" or "code: message" of what parsing or rendering source throws.
inline std::string Refusal(std::string_view source) {
  return mixtral::test::ErrorOf([&] { Template(source).Render(SomeGlobals()); });
}

}  // namespace mixtral::jinja::test
