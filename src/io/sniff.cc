// SPDX-License-Identifier: Apache-2.0
// Content sniffing (sniff.h).
#include "io/sniff.h"

#include <algorithm>
#include <fstream>

#include "base/strings.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr uint64_t kPlausibleHeaderBytes = 100'000'000;  // the safetensors format's own limit

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == 0x7F || (byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f');
}

bool LooksLikeText(std::string_view text) {
  return std::none_of(text.begin(), text.end(), IsControl) &&
         IsValidUtf8(text.substr(0, CompleteUtf8Prefix(text)));
}

bool LooksLikeSafetensors(std::span<const std::byte> head) {
  constexpr size_t kLengthBytes = 8;
  return head.size() > kLengthBytes && head[kLengthBytes] == std::byte{'{'} &&
         LoadUnaligned<uint64_t>(head.data()) <= kPlausibleHeaderBytes;
}

ContentKind TextKind(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return ContentKind::kText;
  const std::string_view rest = text.substr(start);
  if (rest.starts_with("version https://git-lfs")) return ContentKind::kGitLfsPointer;
  if (rest.starts_with('<')) return ContentKind::kHtml;
  if (rest.starts_with('{') || rest.starts_with('[')) return ContentKind::kJson;
  return ContentKind::kText;
}

}  // namespace

ContentKind Sniff(std::span<const std::byte> head) {
  head = head.first(std::min(head.size(), kSniffBytes));
  if (head.empty()) return ContentKind::kEmpty;
  const std::string_view text = AsText(head);
  if (text.starts_with("GGUF")) return ContentKind::kGguf;
  if (LooksLikeSafetensors(head)) return ContentKind::kSafetensors;
  if (text.starts_with("PK\x03\x04")) return ContentKind::kZip;
  if (text.starts_with("\x1F\x8B")) return ContentKind::kGzip;
  // Pickle protocols 2 to 5 open with PROTO and their number.
  if (head.size() > 1 && head[0] == std::byte{0x80} && head[1] >= std::byte{2} &&
      head[1] <= std::byte{5})
    return ContentKind::kPickle;
  return LooksLikeText(text) ? TextKind(text) : ContentKind::kUnknown;
}

std::string_view ContentKindText(ContentKind kind) {
  switch (kind) {
    case ContentKind::kEmpty:
      return "an empty file";
    case ContentKind::kGguf:
      return "a GGUF file";
    case ContentKind::kSafetensors:
      return "a safetensors file";
    case ContentKind::kZip:
      return "a zip archive (of PyTorch's, only consolidated.NN.pth and .pt are read)";
    case ContentKind::kPickle:
      return "a Python pickle (old PyTorch weights; not supported)";
    case ContentKind::kGzip:
      return "a gzip archive";
    case ContentKind::kGitLfsPointer:
      return "a Git LFS pointer, not the weights themselves (git lfs pull fetches them)";
    case ContentKind::kHtml:
      return "a web page (HTML or XML), perhaps a failed download";
    case ContentKind::kJson:
      return "JSON text";
    case ContentKind::kText:
      return "plain text";
    case ContentKind::kUnknown:
      break;
  }
  return "unknown binary data";
}

std::vector<std::byte> ReadHead(const std::string& path) {
  std::vector<std::byte> head(kSniffBytes);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return head;
}

}  // namespace mixtral
