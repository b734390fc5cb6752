// SPDX-License-Identifier: Apache-2.0
// The few parts of the protobuf wire format that a SentencePiece model needs: a strict reader over
// hostile bytes and a writer. Used by sentencepiece_model.cc alone; knows no message's meaning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mixtral {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// One field with its payload already inside the buffer. Which member counts depends on type.
struct WireField {
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  uint64_t integer = 0;    // kVarint, kFixed32, kFixed64
  std::string_view bytes;  // kBytes
  size_t offset = 0;       // of the payload, from the start of the outermost message
};

/// Reads one message, field by field. Nothing is allocated; nested messages are read by a second
/// reader over field.bytes, so depth is the caller's.
class WireReader {
 public:
  /// `base` is where bytes begins in the outermost message; errors name offsets from there.
  explicit WireReader(std::string_view bytes, size_t base = 0) : bytes_(bytes), base_(base) {}
  /// False at the end. Throws Error{kCorrupt} for a truncated field, a varint of more than ten
  /// bytes, field number 0 or a group.
  bool Next(WireField* field);

 private:
  uint64_t Varint();
  uint64_t Fixed(size_t n_bytes);

  std::string_view bytes_;
  size_t at_ = 0, base_;
};

// Each checks the wire type and throws Error{kCorrupt} naming the field.
std::string_view WireBytes(const WireField& field, std::string_view name);
uint64_t WireInteger(const WireField& field, std::string_view name);
bool WireBool(const WireField& field, std::string_view name);
float WireFloat(const WireField& field, std::string_view name);

void AppendInteger(std::string* out, uint32_t number, uint64_t value);
void AppendBytes(std::string* out, uint32_t number, std::string_view bytes);
void AppendFloat(std::string* out, uint32_t number, float value);

}  // namespace mixtral
