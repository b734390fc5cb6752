// SPDX-License-Identifier: Apache-2.0
// A narrow face over nlohmann/json (included by json.cc alone): parse hostile bytes, read values
// with typed getters that name the JSON path in their errors ("$.rope_theta: expected a number,
// found a string"), build values to print.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mixtral {

/// A JSON value with value semantics. Copies and members share one document until one of them is
/// built on, so reading a member costs no deep copy. Throws Error{kCorrupt} on a wrong type or a
/// missing key, naming the path from the document's root and the document.
class Json {
 public:
  /// Parses text. `where` names the document in errors, e.g. a file name. Depth is limited to 64,
  /// duplicate keys are refused, invalid UTF-8 is refused: Error{kCorrupt}.
  static Json Parse(std::string_view text, std::string_view where);

  static Json Object();
  static Json Array();
  Json();  // null
  // NOLINTBEGIN(google-explicit-constructor): values convert where they are written into an object
  Json(bool value);
  Json(double value);
  Json(float value) : Json(static_cast<double>(value)) {}
  Json(int64_t value);
  Json(int value) : Json(static_cast<int64_t>(value)) {}
  Json(uint64_t value);
  Json(std::string_view value);
  Json(const char* value) : Json(std::string_view(value)) {}
  Json(const std::string& value) : Json(std::string_view(value)) {}
  // NOLINTEND(google-explicit-constructor)
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();

  bool IsNull() const;
  bool IsBool() const;
  bool IsNumber() const;
  bool IsInteger() const;
  bool IsString() const;
  bool IsArray() const;
  bool IsObject() const;

  // Reading. Each getter throws with path, expected and found.
  bool AsBool() const;
  double AsDouble() const;
  int64_t AsInt(int64_t min = std::numeric_limits<int64_t>::min(),
                int64_t max = std::numeric_limits<int64_t>::max()) const;
  std::string AsString() const;
  size_t Size() const;                                   // array or object
  Json At(size_t index) const;                           // array element
  Json At(std::string_view key) const;                   // object member; missing: throws
  std::optional<Json> Find(std::string_view key) const;  // object member; absent or null: nullopt
  std::vector<std::string> Keys() const;                 // object, in document order
  std::vector<int64_t> AsIntArray() const;  // array of integers, read without a copy per element
  const std::string& path() const { return path_; }  // "$.a[3]"

  // Building.
  Json& Set(std::string_view key, Json value);  // object; returns *this
  Json& Push(Json value);                       // array; returns *this
  /// indent < 0: one line. Strings that are not valid UTF-8 get U+FFFD for the bad bytes.
  std::string Dump(int indent = -1) const;

 private:
  struct Impl;
  Json(std::unique_ptr<Impl> impl, std::string path);
  [[noreturn]] void Fail(std::string_view expected) const;  // "$.a: expected X, found Y, in WHERE"
  Impl& Own();                                              // the value alone, ready to be changed
  std::unique_ptr<Impl> impl_;                              // null: the JSON value null
  std::string path_ = "$";
};

}  // namespace mixtral
