// SPDX-License-Identifier: Apache-2.0
// Protobuf wire format, strict: every length is compared with what is left before it is used.
#include "text/wire.h"

#include <cstring>

#include "base/error.h"

namespace mixtral {
namespace {

constexpr uint64_t kMaxFieldNumber = (uint64_t{1} << 29) - 1;

void RequireType(const WireField& field, WireType type, std::string_view name) {
  if (field.type != type) {
    Throw(ErrorCode::kCorrupt, "tokenizer model: {} at byte {}: expected wire type {}, found {}",
          name, field.offset, static_cast<int>(type), static_cast<int>(field.type));
  }
}

void AppendVarint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void AppendTag(std::string* out, uint32_t number, WireType type) {
  AppendVarint(out, uint64_t{number} << 3 | static_cast<uint64_t>(type));
}

}  // namespace

uint64_t WireReader::Varint() {
  const size_t start = at_;
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at_ == bytes_.size()) {
      Throw(ErrorCode::kCorrupt, "tokenizer model: truncated integer at byte {}", base_ + start);
    }
    const auto byte = static_cast<uint8_t>(bytes_[at_++]);
    if (shift == 63 && byte > 1) break;
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  Throw(ErrorCode::kCorrupt, "tokenizer model: integer at byte {}: more than 64 bits",
        base_ + start);
}

uint64_t WireReader::Fixed(size_t n_bytes) {
  if (bytes_.size() - at_ < n_bytes) {
    Throw(ErrorCode::kCorrupt, "tokenizer model: truncated number at byte {}", base_ + at_);
  }
  uint64_t value = 0;
  for (size_t i = 0; i < n_bytes; ++i) {
    value |= uint64_t{static_cast<uint8_t>(bytes_[at_ + i])} << (8 * i);
  }
  at_ += n_bytes;
  return value;
}

bool WireReader::Next(WireField* field) {
  if (at_ == bytes_.size()) return false;
  const size_t start = at_;
  const uint64_t tag = Varint();
  if (tag >> 3 == 0 || tag >> 3 > kMaxFieldNumber) {
    Throw(ErrorCode::kCorrupt, "tokenizer model: invalid field number {} at byte {}", tag >> 3,
          base_ + start);
  }
  *field = WireField{};
  field->number = static_cast<uint32_t>(tag >> 3);
  field->offset = base_ + at_;
  switch (tag & 7) {
    case 0:
      field->integer = Varint();
      break;
    case 1:
      field->type = WireType::kFixed64;
      field->integer = Fixed(8);
      break;
    case 2: {
      field->type = WireType::kBytes;
      const uint64_t length = Varint();
      if (length > bytes_.size() - at_) {
        Throw(ErrorCode::kCorrupt,
              "tokenizer model: truncated field {} at byte {}: expected {} bytes, found {}",
              field->number, base_ + at_, length, bytes_.size() - at_);
      }
      field->bytes = bytes_.substr(at_, static_cast<size_t>(length));
      field->offset = base_ + at_;
      at_ += field->bytes.size();
      break;
    }
    case 5:
      field->type = WireType::kFixed32;
      field->integer = Fixed(4);
      break;
    default:
      Throw(ErrorCode::kCorrupt, "tokenizer model: field {} at byte {}: unknown wire type {}",
            field->number, base_ + start, tag & 7);
  }
  return true;
}

std::string_view WireBytes(const WireField& field, std::string_view name) {
  RequireType(field, WireType::kBytes, name);
  return field.bytes;
}

uint64_t WireInteger(const WireField& field, std::string_view name) {
  RequireType(field, WireType::kVarint, name);
  return field.integer;
}

bool WireBool(const WireField& field, std::string_view name) {
  return WireInteger(field, name) != 0;
}

float WireFloat(const WireField& field, std::string_view name) {
  RequireType(field, WireType::kFixed32, name);
  const auto bits = static_cast<uint32_t>(field.integer);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void AppendInteger(std::string* out, uint32_t number, uint64_t value) {
  AppendTag(out, number, WireType::kVarint);
  AppendVarint(out, value);
}

void AppendBytes(std::string* out, uint32_t number, std::string_view bytes) {
  AppendTag(out, number, WireType::kBytes);
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

void AppendFloat(std::string* out, uint32_t number, float value) {
  AppendTag(out, number, WireType::kFixed32);
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  for (int i = 0; i < 4; ++i) out->push_back(static_cast<char>(bits >> (8 * i)));
}

}  // namespace mixtral
