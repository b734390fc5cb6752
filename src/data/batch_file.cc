// SPDX-License-Identifier: Apache-2.0
// A length, the fields one after the other, and their hash at the end: files of a crashed machine
// are found out.
#include "data/batch_file.h"

#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "base/sha256.h"

namespace mixtral::data {
namespace {

constexpr size_t kHashBytes = 32;

template <class T>
void Put(const T& value, std::string* out) {
  static_assert(std::is_trivially_copyable_v<T>);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void PutList(const T& list, std::string* out) {
  Put(static_cast<uint64_t>(list.size()), out);
  out->append(reinterpret_cast<const char*>(list.data()), list.size() * sizeof list[0]);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  void Get(T* value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(value, Take(1, sizeof *value), sizeof *value);
  }
  template <class T>
  void GetList(T* list) {
    uint64_t size = 0;
    Get(&size);
    const char* data = Take(size, sizeof(typename T::value_type));
    list->resize(size);
    if (size > 0) std::memcpy(list->data(), data, size * sizeof(typename T::value_type));
  }
  /// A count of things that take at least a byte each.
  uint64_t GetCount() {
    uint64_t count = 0;
    Get(&count);
    if (count > bytes_.size()) Fail();
    return count;
  }
  bool AtEnd() const { return bytes_.empty(); }
  [[noreturn]] static void Fail() {
    Throw(ErrorCode::kCorrupt, "a batch of tokenised rows is damaged; --restart makes it anew");
  }

 private:
  const char* Take(uint64_t count, size_t each) {
    if (count > bytes_.size() / each) Fail();
    const char* data = bytes_.data();
    bytes_.remove_prefix(count * each);
    return data;
  }
  std::string_view bytes_;
};

Sha256Digest Digest(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

}  // namespace

std::string SerializeBatch(const std::vector<BatchRow>& rows) {
  std::string out;
  Put(static_cast<uint64_t>(rows.size()), &out);
  for (const BatchRow& row : rows) {
    Put(row.file_idx, &out);
    Put(row.line, &out);
    Put(row.state, &out);
    PutList(row.problem, &out);
    if (row.state != RowState::kUsable) continue;
    Put(row.text_bytes, &out);
    Put(row.identity, &out);
    Put(row.split, &out);
    Put(row.signature, &out);
    Put(static_cast<uint64_t>(row.documents.size()), &out);
    for (const Document& document : row.documents) {
      PutList(document.tokens, &out);
      PutList(document.mask, &out);
    }
  }
  const Sha256Digest digest = Digest(out);
  Put(digest, &out);
  return out;
}

std::vector<BatchRow> ParseBatch(std::string_view bytes) {
  if (bytes.size() < kHashBytes) Reader::Fail();
  const std::string_view body = bytes.substr(0, bytes.size() - kHashBytes);
  if (std::memcmp(Digest(body).data(), bytes.data() + body.size(), kHashBytes) != 0) Reader::Fail();
  Reader reader(body);
  std::vector<BatchRow> rows(reader.GetCount());
  for (BatchRow& row : rows) {
    reader.Get(&row.file_idx);
    reader.Get(&row.line);
    reader.Get(&row.state);
    reader.GetList(&row.problem);
    if (row.state != RowState::kUsable) continue;
    reader.Get(&row.text_bytes);
    reader.Get(&row.identity);
    reader.Get(&row.split);
    reader.Get(&row.signature);
    row.documents.resize(reader.GetCount());
    for (Document& document : row.documents) {
      reader.GetList(&document.tokens);
      reader.GetList(&document.mask);
    }
  }
  if (!reader.AtEnd()) Reader::Fail();
  return rows;
}

}  // namespace mixtral::data
