// SPDX-License-Identifier: Apache-2.0
// What a file is, told from its first bytes: picks the reader of a checkpoint, and lets an error
// say what was found instead. Never looks at names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral {

enum class ContentKind : uint8_t {
  kEmpty,
  kGguf,
  kSafetensors,
  kZip,
  kPickle,
  kGzip,
  kGitLfsPointer,
  kHtml,
  kJson,
  kText,
  kUnknown,
};

inline constexpr size_t kSniffBytes = 512;  // as many bytes as Sniff looks at

ContentKind Sniff(std::span<const std::byte> head);
/// "a Git LFS pointer, not the weights themselves (git lfs pull fetches them)"; for "looks like
/// ..."
std::string_view ContentKindText(ContentKind kind);
/// The first kSniffBytes of a file; empty when it cannot be read (opening it later says why).
std::vector<std::byte> ReadHead(const std::string& path);

}  // namespace mixtral
