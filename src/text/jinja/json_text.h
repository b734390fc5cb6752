// SPDX-License-Identifier: Apache-2.0
// JSON text <-> values exactly as Python's json module writes and reads it, since models were
// trained on its output (", " and ": ", unescaped UTF-8). Used by the tojson filter and by the
// encoders of tool calls; base/json.h keeps neither the spacing nor the order of floats' digits.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace mixtral::jinja {

/// json.dumps(value, ensure_ascii=False, indent=indent); indent < 0: one line. Throws
/// Error{kUnsupported} for undefined and namespaces.
std::string DumpJson(const Value& value, int indent, Budget* budget);

/// json.loads(text); nullopt where that would fail, and for what Python reads but a Value can't
/// hold (integers beyond 64 bits, more than 50 levels).
std::optional<Value> ParseJson(std::string_view text);

}  // namespace mixtral::jinja
