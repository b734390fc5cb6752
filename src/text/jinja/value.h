// SPDX-License-Identifier: Apache-2.0
// The data a chat template works on: plain values (no host objects, no attributes of the host), and
// the budget that every evaluation spends from. Used by the files of this folder and by
// text/template_chat.cc, which turns messages into values. Values are immutable, so nothing can be
// made to contain itself; namespaces, the one mutable thing, belong to the evaluator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace mixtral::jinja {

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion, keys unique

struct Namespace;

/// In the order of Value's alternatives.
enum class Type : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kDict,
  kNamespace
};

/// Lists in lists: deeper ones are refused, as values are destroyed and printed recursively.
inline constexpr int kMaxValueDepth = 64;

class Value {
 public:
  Value() = default;  // undefined
  static Value None();
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Float(double value);
  static Value String(std::string value);
  /// Both throw Error{kUnsupported} above kMaxValueDepth.
  static Value MakeList(List items);
  static Value MakeDict(Dict items);
  static Value Of(Namespace* space);  // not owned

  Type type() const { return static_cast<Type>(data_.index()); }
  bool Is(Type type) const { return this->type() == type; }
  bool IsNumber() const { return Is(Type::kInt) || Is(Type::kFloat) || Is(Type::kBool); }
  bool IsWhole() const { return Is(Type::kInt) || Is(Type::kBool); }

  // Each only for a value of its type (whole: also bool; number: also int and bool).
  bool bool_value() const { return std::get<bool>(data_); }
  int64_t whole() const {
    return Is(Type::kBool) ? (bool_value() ? 1 : 0) : std::get<int64_t>(data_);
  }
  double number() const { return Is(Type::kFloat) ? std::get<double>(data_) : double(whole()); }
  const std::string& string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const List& list() const;
  const Dict& dict() const;
  Namespace* space() const { return std::get<Namespace*>(data_); }

  int depth() const;  // 0 for scalars and namespaces

 private:
  struct ListBox;
  struct DictBox;
  using Data = std::variant<std::monostate, std::nullptr_t, bool, int64_t, double,
                            std::shared_ptr<const std::string>, std::shared_ptr<const ListBox>,
                            std::shared_ptr<const DictBox>, Namespace*>;
  explicit Value(Data data) : data_(std::move(data)) {}
  Data data_;
};

struct Value::ListBox {
  List items;
  int depth;
};
struct Value::DictBox {
  Dict items;
  int depth;
};

inline const List& Value::list() const {
  return std::get<std::shared_ptr<const ListBox>>(data_)->items;
}
inline const Dict& Value::dict() const {
  return std::get<std::shared_ptr<const DictBox>>(data_)->items;
}

struct Namespace {
  std::unordered_map<std::string, Value> members;
};

/// What one rendering may use up; each call throws Error{kUnsupported} once its limit is passed.
class Budget {
 public:
  void Steps(size_t n = 1);  // expressions and statements evaluated
  void Work(size_t n);       // bytes or items looked at
  void Bytes(size_t n);      // bytes of values and text made, freed or not

 private:
  size_t steps_ = 0, work_ = 0, bytes_ = 0;
};

std::string_view TypeName(const Value& value);  // "a string", "undefined", ...
bool IsTrue(const Value& value);
/// As Python's ==: numbers by value, dicts in any order.
bool AreEqual(const Value& a, const Value& b, Budget* budget);
/// The member, or undefined.
Value FindKey(const Dict& dict, std::string_view key, Budget* budget);
/// As Python's str(): a string is itself, None is "None", undefined is "".
std::string ToText(const Value& value, Budget* budget);
/// As Python's repr() of a float: the shortest digits, with ".0" where there is no fraction.
std::string FloatText(double value);

}  // namespace mixtral::jinja
