// SPDX-License-Identifier: Apache-2.0
// Reading a trace from hostile bytes: every count is held against the bytes that are left before
// anything is allocated, and every expert against the header.
#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "io/byte_reader.h"
#include "observatory/trace_file.h"
#include "observatory/trace_limits.h"

namespace mixtral::observatory {
namespace {

int ReadCount(ByteReader* reader, std::string_view what, uint32_t max) {
  const auto value = reader->Read<uint32_t>(what);
  if (value < 1 || value > max)
    Throw(ErrorCode::kCorrupt, "{}: expected 1..{}, found {}", what, max, value);
  return static_cast<int>(value);
}

std::string ReadShortText(ByteReader* reader, std::string_view what, size_t max) {
  const std::string_view text = reader->ReadString(what);
  if (text.size() > max)
    Throw(ErrorCode::kCorrupt, "{}: expected at most {} bytes, found {}", what, max, text.size());
  return std::string(text);
}

class TraceParser {
 public:
  explicit TraceParser(std::span<const std::byte> bytes) : bytes_(bytes), reader_(bytes) {}

  Trace Parse() {
    ReadHeader();
    while (true) {
      const auto tag = reader_.Read<uint8_t>("block");
      if (tag == static_cast<uint8_t>(TraceBlock::kEnd)) break;
      if (tag == static_cast<uint8_t>(TraceBlock::kPiece))
        ReadPiece();
      else if (tag == static_cast<uint8_t>(TraceBlock::kSequence))
        ReadSequence();
      else
        Throw(ErrorCode::kCorrupt, "block: expected a tag in 0..2, found {} at byte {}", tag,
              reader_.position() - 1);
    }
    const auto n_sequences = reader_.Read<uint64_t>("number of sequences");
    if (n_sequences != trace_.sequences.size())
      Throw(ErrorCode::kCorrupt, "number of sequences: expected {}, found {}",
            trace_.sequences.size(), n_sequences);
    if (reader_.remaining() != 0)
      Throw(ErrorCode::kCorrupt, "end: expected no bytes behind it, found {}", reader_.remaining());
    return std::move(trace_);
  }

 private:
  std::span<const std::byte> Take(size_t n, std::string_view what) {
    const size_t at = reader_.position();
    reader_.Skip(n, what);
    return bytes_.subspan(at, n);
  }

  void ReadHeader() {
    const auto magic = Take(kTraceMagic.size(), "magic");
    if (!std::equal(magic.begin(), magic.end(), std::as_bytes(std::span(kTraceMagic)).begin()))
      Throw(ErrorCode::kCorrupt, "magic: expected a routing trace, found something else");
    const auto version = reader_.Read<uint32_t>("version");
    if (version != kTraceVersion)
      Throw(ErrorCode::kUnsupported, "version: expected {}, found {}", kTraceVersion, version);
    TraceInfo& info = trace_.info;
    info.n_layers = ReadCount(&reader_, "layers", kMaxTraceLayers);
    info.n_experts = ReadCount(&reader_, "experts", kMaxTraceExperts);
    info.k = ReadCount(&reader_, "experts of a token", static_cast<uint32_t>(info.n_experts));
    info.vocab_size = ReadCount(&reader_, "vocabulary", kMaxTraceVocabulary);
    info.dim = ReadCount(&reader_, "dimension", kMaxTraceDim);
    info.expert_bytes = reader_.Read<uint64_t>("bytes of an expert");
    info.other_bytes = reader_.Read<uint64_t>("bytes beside the experts");
    const auto digest = Take(kFingerprintBytes, "fingerprint");
    info.fingerprint = Hex({reinterpret_cast<const uint8_t*>(digest.data()), kFingerprintBytes});
    info.model = ReadShortText(&reader_, "model", kMaxModelName);
  }

  TokenId ReadToken(std::string_view what) {
    const auto id = reader_.Read<uint32_t>(what);
    if (id >= static_cast<uint32_t>(trace_.info.vocab_size))
      Throw(ErrorCode::kCorrupt, "{}: expected 0..{}, found {}", what, trace_.info.vocab_size - 1,
            id);
    return static_cast<TokenId>(id);
  }

  void ReadPiece() {
    const TokenId id = ReadToken("token of a piece");
    const bool is_new =
        trace_.pieces.emplace(id, ReadShortText(&reader_, "piece", kMaxPiece)).second;
    if (!is_new) Throw(ErrorCode::kCorrupt, "piece: expected one of token {}, found two", id);
  }

  void ReadSequence() {
    TraceSequence& sequence = trace_.sequences.emplace_back();
    sequence.domain = ReadShortText(&reader_, "domain", kMaxDomain);
    const auto first = reader_.Read<uint64_t>("first position");
    const auto n_tokens = reader_.Read<uint64_t>("tokens of a sequence");
    if (first > uint64_t{1} << 40)
      Throw(ErrorCode::kCorrupt, "first position: expected at most 2^40, found {}", first);
    if (n_tokens == 0) Throw(ErrorCode::kCorrupt, "tokens of a sequence: expected some, found 0");
    reader_.RequireItems(n_tokens, sizeof(uint32_t) + 2 * trace_.row(), "tokens of a sequence");
    sequence.first_position = static_cast<int64_t>(first);
    sequence.tokens.reserve(n_tokens);
    for (uint64_t i = 0; i < n_tokens; ++i) sequence.tokens.push_back(ReadToken("token"));
    const size_t n = n_tokens * trace_.row();
    for (std::vector<uint8_t>* values : {&sequence.expert_ids, &sequence.weights}) {
      const auto bytes = Take(n, "choices");
      const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
      values->assign(begin, begin + n);
    }
    for (size_t at = 0; at < n; at += static_cast<size_t>(trace_.info.k)) CheckChoice(sequence, at);
  }

  /// Experts of one token and layer: at least one, each once, none behind the last.
  void CheckChoice(const TraceSequence& sequence, size_t at) const {
    const auto k = static_cast<size_t>(trace_.info.k);
    const std::span<const uint8_t> ids = std::span(sequence.expert_ids).subspan(at, k);
    for (size_t i = 0; i < k; ++i) {
      const bool is_none = ids[i] == kNoExpert;
      if (!is_none && ids[i] >= trace_.info.n_experts)
        Throw(ErrorCode::kCorrupt, "expert: expected 0..{}, found {}", trace_.info.n_experts - 1,
              ids[i]);
      if ((is_none && i == 0) || (!is_none && i > 0 && ids[i - 1] == kNoExpert))
        Throw(ErrorCode::kCorrupt, "expert: expected one, found none at choice {}",
              is_none ? i : i - 1);
      if (!is_none && std::find(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(i), ids[i]) !=
                          ids.begin() + static_cast<ptrdiff_t>(i))
        Throw(ErrorCode::kCorrupt, "expert: expected each once, found {} twice", ids[i]);
      if (is_none && sequence.weights[at + i] != 0)
        Throw(ErrorCode::kCorrupt, "weight: expected 0 of no expert, found {}",
              sequence.weights[at + i]);
    }
  }

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  Trace trace_;
};

}  // namespace

Trace ParseTrace(std::span<const std::byte> bytes, std::string_view where) {
  return WithContext(where, [&] { return TraceParser(bytes).Parse(); });
}

Trace ReadTrace(const std::string& path) {
  const MappedFile file(path);
  return ParseTrace(file.bytes(), Printable(path, 1000));
}

bool IsTraceFile(const std::string& path) {
  std::string begin(kTraceMagic.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(begin.data(), static_cast<std::streamsize>(begin.size())) &&
         begin == kTraceMagic;
}

}  // namespace mixtral::observatory
