// SPDX-License-Identifier: Apache-2.0
// Strict reader of zip archives (zip.h). Field names and offsets are those of the format's public
// specification (APPNOTE 4.3).
#include "io/zip.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr uint32_t kLocalMagic = 0x04034B50, kCentralMagic = 0x02014B50, kEndMagic = 0x06054B50;
constexpr uint32_t kZip64EndMagic = 0x06064B50, kZip64LocatorMagic = 0x07064B50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kLocatorBytes = 20;
constexpr size_t kZip64EndBytes = 56, kMaxComment = 65535;
constexpr uint16_t kEncrypted = 1, kMasked = 1 << 13;  // flags; 3 (sizes follow) and 11 (UTF-8) ok
constexpr uint16_t kZip64Extra = 1;
constexpr uint64_t kMost32 = 0xFFFFFFFF, kMost16 = 0xFFFF;

struct Directory {
  uint64_t offset = 0, size = 0, n_entries = 0;
};

struct Entry {
  std::string name;
  uint64_t size = 0, stored_size = 0, offset = 0;  // offset of the local header
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  std::vector<ZipMember> Parse() {
    const Directory directory = FindDirectory();
    std::vector<Entry> entries = ReadEntries(directory);
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.offset < b.offset; });
    std::vector<ZipMember> members;
    std::set<std::string_view> names;
    uint64_t end = 0;
    for (const Entry& entry : entries) {
      if (!names.insert(entry.name).second) Fail(entry, "a name of its own", "it twice");
      if (entry.offset < end) Fail(entry, "bytes of its own", "an overlap with another member");
      members.push_back({entry.name, Data(entry, directory.offset, &end)});
    }
    return members;
  }

 private:
  template <class T>
  T At(uint64_t offset) const {
    return LoadUnaligned<T>(bytes_.data() + offset);
  }

  /// Throws unless size bytes are there from offset on.
  void Require(uint64_t offset, uint64_t size, std::string_view what) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      Throw(ErrorCode::kCorrupt,
            "zip {}: expected {} bytes at byte {}, found the file's end at {} (a file cut short?), "
            "in {}",
            what, size, offset, bytes_.size(), where_);
  }

  [[noreturn]] void Fail(const Entry& entry, std::string_view expected,
                         std::string_view found) const {
    Throw(ErrorCode::kCorrupt, "zip member: expected {}, found {}, in {}:{}", expected, found,
          where_, Printable(entry.name));
  }

  /// The end record is the last thing but a comment.
  uint64_t FindEnd() const {
    if (bytes_.size() >= kEndBytes) {
      const uint64_t last = bytes_.size() - kEndBytes;
      const uint64_t first = last - std::min<uint64_t>(last, kMaxComment);
      for (uint64_t at = last + 1; at-- > first;)
        if (At<uint32_t>(at) == kEndMagic && At<uint16_t>(at + 20) == last - at) return at;
    }
    Throw(ErrorCode::kCorrupt,
          "zip: expected an end record in the last {} bytes, found none (a file cut short?), in {}",
          kEndBytes + kMaxComment, where_);
  }

  Directory FindDirectory() const {
    const uint64_t end = FindEnd();
    uint64_t limit = end;  // the directory ends here or before
    Directory directory{At<uint32_t>(end + 16), At<uint32_t>(end + 12), At<uint16_t>(end + 10)};
    bool one_disk = At<uint16_t>(end + 4) == 0 && At<uint16_t>(end + 6) == 0 &&
                    At<uint16_t>(end + 8) == directory.n_entries;
    const bool has_locator =
        end >= kLocatorBytes && At<uint32_t>(end - kLocatorBytes) == kZip64LocatorMagic;
    if (has_locator) {
      const uint64_t record = At<uint64_t>(end - kLocatorBytes + 8);
      Require(record, kZip64EndBytes, "zip64 end record");
      if (At<uint32_t>(record) != kZip64EndMagic || record > end - kLocatorBytes)
        Throw(ErrorCode::kCorrupt, "zip64 end record: expected at byte {}, found none, in {}",
              record, where_);
      limit = record;
      one_disk = At<uint32_t>(record + 16) == 0 && At<uint32_t>(record + 20) == 0 &&
                 At<uint64_t>(record + 24) == At<uint64_t>(record + 32);
      directory = {At<uint64_t>(record + 48), At<uint64_t>(record + 40), At<uint64_t>(record + 32)};
    } else if (directory.offset == kMost32 || directory.size == kMost32 ||
               directory.n_entries == kMost16) {
      Throw(ErrorCode::kCorrupt, "zip: expected a zip64 end record, found none, in {}", where_);
    }
    if (!one_disk)
      Throw(ErrorCode::kUnsupported, "zip: expected an archive of one disk, found several, in {}",
            where_);
    if (directory.offset > limit || directory.size != limit - directory.offset)
      Throw(ErrorCode::kCorrupt,
            "zip directory: expected to end at byte {}, found {} bytes at byte {}, in {}", limit,
            directory.size, directory.offset, where_);
    return directory;
  }

  std::vector<Entry> ReadEntries(const Directory& directory) const {
    const uint64_t end = directory.offset + directory.size;
    if (directory.n_entries > directory.size / kCentralBytes)
      Throw(ErrorCode::kCorrupt,
            "zip directory: expected at most {} entries (its bytes), found {}, in {}",
            directory.size / kCentralBytes, directory.n_entries, where_);
    std::vector<Entry> entries;
    uint64_t at = directory.offset;
    for (uint64_t i = 0; i < directory.n_entries; ++i) {
      if (end - at < kCentralBytes || At<uint32_t>(at) != kCentralMagic)
        Throw(ErrorCode::kCorrupt,
              "zip directory: expected entry {} of {} at byte {}, found none, "
              "in {}",
              i + 1, directory.n_entries, at, where_);
      const uint64_t name = At<uint16_t>(at + 28), extra = At<uint16_t>(at + 30);
      const uint64_t total = kCentralBytes + name + extra + At<uint16_t>(at + 32);
      if (end - at < total)
        Throw(ErrorCode::kCorrupt, "zip directory: expected {} bytes at byte {}, found {}, in {}",
              total, at, end - at, where_);
      entries.push_back(ReadEntry(at, name, extra));
      at += total;
    }
    if (at != end)
      Throw(ErrorCode::kCorrupt, "zip directory: expected to end at byte {}, found {}, in {}", end,
            at, where_);
    return entries;
  }

  Entry ReadEntry(uint64_t at, uint64_t name_bytes, uint64_t extra_bytes) const {
    Entry entry;
    entry.name = Text(at + kCentralBytes, name_bytes);
    const bool plain = !entry.name.empty() && IsValidUtf8(entry.name) && entry.name[0] != '/' &&
                       entry.name.find_first_of(std::string_view("\\\0", 2)) == std::string::npos &&
                       ("/" + entry.name + "/").find("/../") == std::string::npos;
    if (!plain) Fail(entry, "a plain relative name", "another");
    entry.stored_size = At<uint32_t>(at + 20);
    entry.size = At<uint32_t>(at + 24);
    entry.offset = At<uint32_t>(at + 42);
    ReadZip64(at + kCentralBytes + name_bytes, extra_bytes, &entry);
    CheckMethod(entry, At<uint16_t>(at + 8), At<uint16_t>(at + 10));
    if (At<uint16_t>(at + 34) != 0) Fail(entry, "an archive of one disk", "several");
    if (entry.stored_size != entry.size)
      Fail(entry, fmt::format("{} stored bytes", entry.size), fmt::format("{}", entry.stored_size));
    return entry;
  }

  void CheckMethod(const Entry& entry, uint16_t flags, uint16_t method) const {
    if (method == 0 && (flags & (kEncrypted | kMasked)) == 0) return;
    Throw(ErrorCode::kUnsupported,
          "zip member: expected stored bytes (method 0), found {} (method {}), in {}:{}",
          method == 0 ? "encryption" : "compression", method, where_, Printable(entry.name));
  }

  /// Fields that are all ones stand in the extra field 1, in this order, 8 bytes each.
  void ReadZip64(uint64_t at, uint64_t extra_bytes, Entry* entry) const {
    const uint64_t end = at + extra_bytes;
    while (end - at >= 4) {
      const uint64_t size = At<uint16_t>(at + 2);
      if (size > end - at - 4) Fail(*entry, "extra fields within their bytes", "one beyond");
      if (At<uint16_t>(at) == kZip64Extra) {
        uint64_t next = at + 4;
        for (uint64_t* field : {&entry->size, &entry->stored_size, &entry->offset}) {
          if (*field != kMost32) continue;
          if (at + 4 + size - next < 8) Fail(*entry, "a whole zip64 field", "one cut short");
          *field = At<uint64_t>(next);
          next += 8;
        }
        return;
      }
      at += 4 + size;
    }
  }

  /// *end becomes where the member ends; its data must lie before the directory.
  std::span<const std::byte> Data(const Entry& entry, uint64_t directory, uint64_t* end) const {
    const auto cut_short = [&] {
      Fail(entry, fmt::format("{} bytes before byte {}", entry.size, directory),
           fmt::format("an offset of {}", entry.offset));
    };
    if (entry.offset > directory || directory - entry.offset < kLocalBytes) cut_short();
    if (At<uint32_t>(entry.offset) != kLocalMagic) Fail(entry, "a local header", "none");
    CheckMethod(entry, At<uint16_t>(entry.offset + 6), At<uint16_t>(entry.offset + 8));
    const uint64_t name = At<uint16_t>(entry.offset + 26), extra = At<uint16_t>(entry.offset + 28);
    const uint64_t data = entry.offset + kLocalBytes + name + extra;
    if (data > directory || entry.size > directory - data) cut_short();
    if (Text(entry.offset + kLocalBytes, name) != entry.name)
      Fail(entry, "the same name in its local header", "another");
    *end = data + entry.size;
    return bytes_.subspan(data, entry.size);
  }

  std::string Text(uint64_t offset, uint64_t size) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + offset, static_cast<size_t>(size)};
  }

  std::span<const std::byte> bytes_;
  std::string_view where_;
};

}  // namespace

std::vector<ZipMember> ParseZip(std::span<const std::byte> bytes, std::string_view where) {
  return Parser(bytes, where).Parse();
}

}  // namespace mixtral
