// SPDX-License-Identifier: Apache-2.0
// Fields of tensorflow.Event: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary;
// Summary: repeated 1 value; Value: 1 tag string, 2 simple_value float.
#include "train/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <ctime>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"

namespace mixtral::train {
namespace {

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table = {};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? crc >> 1 ^ 0x82F63B78U : crc >> 1;
    table[i] = crc;
  }
  return table;
}();

constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;  // wire types

uint32_t Masked(std::string_view text) {
  const uint32_t crc = Crc32c(std::as_bytes(std::span(text)));
  return (crc >> 15 | crc << 17) + 0xA282EAD8U;
}

void PutFixed(uint64_t value, int n_bytes, std::string* out) {
  for (int i = 0; i < n_bytes; ++i) *out += static_cast<char>(value >> (8 * i) & 0xFF);
}

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) *out += static_cast<char>((value & 0x7F) | 0x80);
  *out += static_cast<char>(value);
}

void PutKey(uint64_t field, uint64_t wire, std::string* out) { PutVarint(field << 3 | wire, out); }

void PutBytes(uint64_t field, std::string_view bytes, std::string* out) {
  PutKey(field, kBytes, out);
  PutVarint(bytes.size(), out);
  *out += bytes;
}

std::string TimeField(double wall_time) {
  std::string event;
  PutKey(1, kFixed64, &event);
  PutFixed(std::bit_cast<uint64_t>(wall_time), 8, &event);
  return event;
}

/// Reads one protobuf message field by field; only what this file writes.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  bool Next() {
    if (rest_.empty()) return false;
    const uint64_t key = Varint();
    field = key >> 3;
    if ((key & 7) == kVarint) number = Varint();
    if ((key & 7) == kFixed64) number = Fixed(8);
    if ((key & 7) == kFixed32) number = Fixed(4);
    if ((key & 7) == kBytes) bytes = Take(Varint());
    return true;
  }

  uint64_t field = 0, number = 0;
  std::string_view bytes;

 private:
  std::string_view Take(uint64_t n) {
    if (n > rest_.size()) Throw(ErrorCode::kCorrupt, "event: expected {} bytes, found fewer", n);
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  uint64_t Fixed(int n) {
    const std::string_view raw = Take(static_cast<uint64_t>(n));
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; --i)
      value = value << 8 | static_cast<unsigned char>(raw[static_cast<size_t>(i)]);
    return value;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(Take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    Throw(ErrorCode::kCorrupt, "event: expected a number of at most 64 bits, found more");
  }

  std::string_view rest_;
};

EventRecord ParseEvent(std::string_view event) {
  EventRecord record;
  for (Fields fields(event); fields.Next();) {
    if (fields.field == 2) record.step = static_cast<int64_t>(fields.number);
    if (fields.field != 5) continue;
    for (Fields values(fields.bytes); values.Next();) {
      std::pair<std::string, float> scalar;
      for (Fields value(values.bytes); value.Next();) {
        if (value.field == 1) scalar.first = value.bytes;
        if (value.field == 2)
          scalar.second = std::bit_cast<float>(static_cast<uint32_t>(value.number));
      }
      record.scalars.push_back(std::move(scalar));
    }
  }
  return record;
}

}  // namespace

uint32_t Crc32c(std::span<const std::byte> bytes) {
  uint32_t crc = ~0U;
  for (const std::byte byte : bytes)
    crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~crc;
}

EventFile::EventFile(const std::string& folder) {
  const auto now = static_cast<int64_t>(std::time(nullptr));
  path_ = fmt::format("{}/events.out.tfevents.{}.{}", folder, now, ::getpid());
  file_.reset(std::fopen(path_.c_str(), "wb"));
  if (!file_) Throw(ErrorCode::kIo, "event file: expected to create {}, found an error", path_);
  std::string event = TimeField(static_cast<double>(now));
  PutBytes(3, "brain.Event:2", &event);
  WriteRecord(event);
}

void EventFile::WriteRecord(const std::string& event) {
  std::string frame;
  PutFixed(event.size(), 8, &frame);
  PutFixed(Masked(frame), 4, &frame);
  frame += event;
  PutFixed(Masked(event), 4, &frame);
  if (std::fwrite(frame.data(), 1, frame.size(), file_.get()) != frame.size() ||
      std::fflush(file_.get()) != 0)
    Throw(ErrorCode::kIo, "event file: expected to write {}, found an error", path_);
}

void EventFile::Add(int64_t step, double wall_time, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    PutBytes(1, tag, &value);
    PutKey(2, kFixed32, &value);
    PutFixed(std::bit_cast<uint32_t>(number), 4, &value);
    PutBytes(1, value, &summary);
  }
  std::string event = TimeField(wall_time);
  PutKey(2, kVarint, &event);
  PutVarint(static_cast<uint64_t>(step), &event);
  PutBytes(5, summary, &event);
  WriteRecord(event);
}

std::vector<EventRecord> ReadEventFile(const std::string& path) {
  const std::string text = ReadTextFile(path);
  const auto fixed = [&](size_t at, int n) {
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; --i)
      value = value << 8 | static_cast<unsigned char>(text[at + static_cast<size_t>(i)]);
    return value;
  };
  std::vector<EventRecord> records;
  for (size_t at = 0; text.size() - at >= 16;) {
    const uint64_t length = fixed(at, 8);
    if (fixed(at + 8, 4) != Masked(std::string_view(text).substr(at, 8)))
      Throw(ErrorCode::kCorrupt, "event frame: expected its length's checksum at byte {}, in {}",
            at, path);
    if (length > text.size() - at - 16) break;
    const std::string_view event = std::string_view(text).substr(at + 12, length);
    if (fixed(at + 12 + length, 4) != Masked(event))
      Throw(ErrorCode::kCorrupt, "event frame: expected its data's checksum at byte {}, in {}", at,
            path);
    records.push_back(ParseEvent(event));
    at += length + 16;
  }
  return records;
}

}  // namespace mixtral::train
