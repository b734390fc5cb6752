// SPDX-License-Identifier: Apache-2.0
// A sandboxed evaluator of the Jinja subset that chat templates use: loops, conditions, set,
// namespaces, macros, filters. It reads no files, sees no objects of the host, and is bounded in
// steps, memory, output and depth, so a hostile template can only be refused. Used by
// text/template_chat.cc; docs/chat.md lists the subset.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace mixtral::jinja {

inline constexpr size_t kMaxOutputBytes = size_t{16} << 20;

using Globals = std::vector<std::pair<std::string, Value>>;

struct Output {
  std::string text;
  std::optional<std::string> raised;  // what raise_exception said; text ends there
};

class Template {
 public:
  /// Throws Error{kCorrupt, kUnsupported} naming the line.
  explicit Template(std::string_view source);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  /// Safe to call from several threads. Throws Error{kUnsupported} naming the line and what is not
  /// supported there, or the limit that was reached.
  Output TryRender(const Globals& globals) const;
  /// Throws Error{kInvalidArgument} with the text of raise_exception, too.
  std::string Render(const Globals& globals) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace mixtral::jinja
