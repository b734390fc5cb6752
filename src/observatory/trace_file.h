// SPDX-License-Identifier: Apache-2.0
// A trace on disk: written piece by piece while a model runs, read back strictly. The format is in
// docs/routing.md. A file without its end mark was cut short and is refused.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "base/output_file.h"
#include "observatory/trace.h"
#include "text/tokenizer.h"

namespace mixtral::observatory {

/// The four kinds of bytes of which a file is made, in this order: a header; pieces and sequences;
/// an end. Throws Error{kInvalidArgument} for what the format cannot hold.
std::string EncodeHeader(const TraceInfo& info);
std::string EncodePiece(TokenId id, std::string_view text);
std::string EncodeSequence(const TraceSequence& sequence);
std::string EncodeEnd(uint64_t n_sequences);

/// Throws Error{kCorrupt}: "what: expected X, found Y"; kUnsupported for another version. where
/// names the bytes in errors.
Trace ParseTrace(std::span<const std::byte> bytes, std::string_view where);
/// Throws also what MappedFile throws.
Trace ReadTrace(const std::string& path);
/// Whether a file begins like a trace: tells one from a model.
bool IsTraceFile(const std::string& path);

class TraceWriter {
 public:
  /// tokenizer: where the text of tokens comes from; nullptr: none is written. Throws what
  /// OutputFile and EncodeHeader throw.
  TraceWriter(const std::string& path, const TraceInfo& info, const Tokenizer* tokenizer);
  /// Does nothing for a sequence without tokens.
  void Write(const TraceSequence& sequence);
  /// The file gets its name. Without this nothing is left of it.
  void Finish();
  int64_t n_tokens() const { return n_tokens_; }

 private:
  void WriteText(const std::string& bytes);

  OutputFile file_;
  const Tokenizer* tokenizer_;
  std::set<TokenId> written_pieces_;
  uint64_t n_sequences_ = 0;
  int64_t n_tokens_ = 0;
};

}  // namespace mixtral::observatory
