// SPDX-License-Identifier: Apache-2.0
// Encoding and the writer. Little-endian by memcpy, as everywhere in this program.
#include "observatory/trace_file.h"
#include "base/error.h"
#include "base/strings.h"
#include "observatory/trace_limits.h"
#include "text/token_bytes.h"

namespace mixtral::observatory {
namespace {

template <class T>
void Put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutText(std::string* out, std::string_view text) {
  Put(out, static_cast<uint64_t>(text.size()));
  out->append(text);
}

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    bytes.push_back(static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return bytes;
}

}  // namespace

std::string EncodeHeader(const TraceInfo& info) {
  if (info.n_experts < 1 || info.n_experts > kMaxTraceExperts)
    Throw(ErrorCode::kUnsupported, "routing trace: expected a model of 1..{} experts, found {}",
          kMaxTraceExperts, info.n_experts);
  if (info.fingerprint.size() != 2 * kFingerprintBytes)
    Throw(ErrorCode::kInvalidArgument, "routing trace: expected a fingerprint of {} digits",
          2 * kFingerprintBytes);
  std::string out(kTraceMagic);
  Put(&out, kTraceVersion);
  for (const int value : {info.n_layers, info.n_experts, info.k, info.vocab_size, info.dim})
    Put(&out, static_cast<uint32_t>(value));
  Put(&out, info.expert_bytes);
  Put(&out, info.other_bytes);
  out += FromHex(info.fingerprint);
  PutText(&out, std::string_view(info.model).substr(0, kMaxModelName));
  return out;
}

std::string EncodePiece(TokenId id, std::string_view text) {
  std::string out(1, static_cast<char>(TraceBlock::kPiece));
  Put(&out, static_cast<uint32_t>(id));
  PutText(&out, text.substr(0, kMaxPiece));
  return out;
}

std::string EncodeSequence(const TraceSequence& sequence) {
  if (sequence.domain.size() > kMaxDomain)
    Throw(ErrorCode::kInvalidArgument, "domain: expected at most {} bytes, found {}", kMaxDomain,
          sequence.domain.size());
  std::string out(1, static_cast<char>(TraceBlock::kSequence));
  PutText(&out, sequence.domain);
  Put(&out, static_cast<uint64_t>(sequence.first_position));
  Put(&out, static_cast<uint64_t>(sequence.tokens.size()));
  for (const TokenId id : sequence.tokens) Put(&out, static_cast<uint32_t>(id));
  out.append(reinterpret_cast<const char*>(sequence.expert_ids.data()), sequence.expert_ids.size());
  out.append(reinterpret_cast<const char*>(sequence.weights.data()), sequence.weights.size());
  return out;
}

std::string EncodeEnd(uint64_t n_sequences) {
  std::string out(1, static_cast<char>(TraceBlock::kEnd));
  Put(&out, n_sequences);
  return out;
}

TraceWriter::TraceWriter(const std::string& path, const TraceInfo& info, const Tokenizer* tokenizer)
    : file_(path), tokenizer_(tokenizer) {
  WriteText(EncodeHeader(info));
}

void TraceWriter::WriteText(const std::string& bytes) {
  file_.Write(std::as_bytes(std::span(bytes)));
}

void TraceWriter::Write(const TraceSequence& sequence) {
  if (sequence.tokens.empty()) return;
  if (tokenizer_ != nullptr)
    for (const TokenId id : sequence.tokens)
      if (id < tokenizer_->vocab_size() && written_pieces_.insert(id).second)
        WriteText(EncodePiece(id, TokenBytes(*tokenizer_, id)));
  WriteText(EncodeSequence(sequence));
  ++n_sequences_;
  n_tokens_ += std::ssize(sequence.tokens);
}

void TraceWriter::Finish() {
  WriteText(EncodeEnd(n_sequences_));
  file_.Finish();
}

}  // namespace mixtral::observatory
