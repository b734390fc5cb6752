// SPDX-License-Identifier: Apache-2.0
// Whatever walks a value pays for each item it sees: lists may share parts, so a small one can be
// very long when written out.
#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mixtral::jinja {
namespace {

constexpr size_t kMaxSteps = 2'000'000;
constexpr size_t kMaxWork = size_t{1} << 30;
constexpr size_t kItemWork = 16;  // looking at an item takes about as long as 16 bytes
constexpr size_t kMaxBytes = size_t{256} << 20;

void Spend(size_t n, size_t limit, std::string_view what, size_t* spent) {
  if (n > limit - *spent) {
    Throw(ErrorCode::kUnsupported, "chat template: expected at most {} {}, found more", limit,
          what);
  }
  *spent += n;
}

int CheckedDepth(int depth) {
  if (depth > kMaxValueDepth) {
    Throw(ErrorCode::kUnsupported, "chat template: expected lists at most {} deep, found deeper",
          kMaxValueDepth);
  }
  return depth;
}

/// A string as Python writes it in a list.
void AppendQuoted(std::string_view text, std::string* out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out->push_back(quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      *out += "\\n";
    } else if (c == '\r') {
      *out += "\\r";
    } else if (c == '\t') {
      *out += "\\t";
    } else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) {
      *out += fmt::format("\\x{:02x}", c);
    } else {
      out->push_back(c);
    }
  }
  out->push_back(quote);
}

void AppendRepr(const Value& value, std::string* out, Budget* budget) {
  budget->Bytes(8);
  switch (value.type()) {
    case Type::kString:
      budget->Bytes(value.string().size());
      AppendQuoted(value.string(), out);
      return;
    case Type::kList: {
      std::string_view separator = "[";
      for (const Value& item : value.list()) {
        *out += separator;
        AppendRepr(item, out, budget);
        separator = ", ";
      }
      *out += value.list().empty() ? "[]" : "]";
      return;
    }
    case Type::kDict: {
      std::string_view separator = "{";
      for (const auto& [key, item] : value.dict()) {
        *out += separator;
        budget->Bytes(key.size());
        AppendQuoted(key, out);
        *out += ": ";
        AppendRepr(item, out, budget);
        separator = ", ";
      }
      *out += value.dict().empty() ? "{}" : "}";
      return;
    }
    default:
      *out += value.Is(Type::kUndefined) ? "Undefined" : ToText(value, budget);
  }
}

bool AreEqualLists(const List& a, const List& b, Budget* budget) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!AreEqual(a[i], b[i], budget)) return false;
  }
  return true;
}

bool AreEqualDicts(const Dict& a, const Dict& b, Budget* budget) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, item] : a) {
    budget->Work(kItemWork * b.size());
    const auto other = std::find_if(
        b.begin(), b.end(), [&name = key](const auto& entry) { return entry.first == name; });
    if (other == b.end() || !AreEqual(item, other->second, budget)) return false;
  }
  return true;
}

}  // namespace

Value Value::None() { return Value(Data(nullptr)); }
Value Value::Bool(bool value) { return Value(Data(value)); }
Value Value::Int(int64_t value) { return Value(Data(value)); }
Value Value::Float(double value) { return Value(Data(value)); }
Value Value::Of(Namespace* space) { return Value(Data(space)); }

Value Value::String(std::string value) {
  return Value(Data(std::make_shared<const std::string>(std::move(value))));
}

Value Value::MakeList(List items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return Value(
      Data(std::make_shared<const ListBox>(ListBox{std::move(items), CheckedDepth(depth + 1)})));
}

Value Value::MakeDict(Dict items) {
  int depth = 0;
  for (const auto& [key, item] : items) depth = std::max(depth, item.depth());
  return Value(
      Data(std::make_shared<const DictBox>(DictBox{std::move(items), CheckedDepth(depth + 1)})));
}

int Value::depth() const {
  if (Is(Type::kList)) return std::get<std::shared_ptr<const ListBox>>(data_)->depth;
  if (Is(Type::kDict)) return std::get<std::shared_ptr<const DictBox>>(data_)->depth;
  return 0;
}

void Budget::Steps(size_t n) { Spend(n, kMaxSteps, "steps", &steps_); }
void Budget::Work(size_t n) { Spend(n, kMaxWork, "bytes looked at", &work_); }
void Budget::Bytes(size_t n) { Spend(n, kMaxBytes, "bytes made", &bytes_); }

std::string_view TypeName(const Value& value) {
  constexpr std::string_view kNames[] = {"something undefined",
                                         "none",
                                         "a boolean",
                                         "an integer",
                                         "a float",
                                         "a string",
                                         "a list",
                                         "a mapping",
                                         "a namespace"};
  return kNames[static_cast<size_t>(value.type())];
}

bool IsTrue(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInt:
    case Type::kFloat:
      return value.number() != 0;
    case Type::kString:
      return !value.string().empty();
    case Type::kList:
      return !value.list().empty();
    case Type::kDict:
      return !value.dict().empty();
    case Type::kNamespace:
      break;
  }
  return true;
}

bool AreEqual(const Value& a, const Value& b, Budget* budget) {
  budget->Work(kItemWork);
  if (a.IsWhole() && b.IsWhole()) return a.whole() == b.whole();
  if (a.IsNumber() && b.IsNumber()) return a.number() == b.number();
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kString:
      budget->Work(a.string().size());
      return a.string() == b.string();
    case Type::kList:
      return AreEqualLists(a.list(), b.list(), budget);
    case Type::kDict:
      return AreEqualDicts(a.dict(), b.dict(), budget);
    case Type::kNamespace:
      return a.space() == b.space();
    default:
      return true;  // none, undefined
  }
}

Value FindKey(const Dict& dict, std::string_view key, Budget* budget) {
  budget->Work(kItemWork * dict.size());
  for (const auto& [name, value] : dict) {
    if (name == key) return value;
  }
  return {};
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string ToText(const Value& value, Budget* budget) {
  switch (value.type()) {
    case Type::kUndefined:
      return "";
    case Type::kNone:
      return "None";
    case Type::kBool:
      return value.bool_value() ? "True" : "False";
    case Type::kInt:
      return fmt::format("{}", value.whole());
    case Type::kFloat:
      return FloatText(value.number());
    case Type::kString:
      budget->Bytes(value.string().size());
      return value.string();
    case Type::kNamespace:
      Throw(ErrorCode::kUnsupported, "chat template: expected a value to print, found a namespace");
    default:
      break;
  }
  std::string text;
  AppendRepr(value, &text, budget);
  return text;
}

}  // namespace mixtral::jinja
