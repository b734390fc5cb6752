// SPDX-License-Identifier: Apache-2.0
// Operators on values, as Python's; integers that overflow 64 bits are refused.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "text/jinja/call.h"
#include "text/jinja/utf8.h"

namespace mixtral::jinja {
namespace {

Value Floor(int64_t a, int64_t b, char op) {
  const bool adjust = a % b != 0 && (a < 0) != (b < 0);
  if (op == '/') return Value::Int(a / b - (adjust ? 1 : 0));
  return Value::Int(a % b + (adjust ? b : 0));
}

Value CalculateWhole(std::string_view op, int64_t a, int64_t b, const Call& call) {
  int64_t result = 0;
  bool overflows = false;
  switch (op[0]) {
    case '+':
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case '-':
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case '*':
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    default:  // / // %
      if (b == 0) call.Refuse("division by zero");
      if (op == "/") return Value::Float(static_cast<double>(a) / static_cast<double>(b));
      if (b != -1) return Floor(a, b, op[0]);  // -1: the one quotient that may overflow
      if (op == "%") return Value::Int(0);
      overflows = __builtin_sub_overflow(int64_t{0}, a, &result);
  }
  if (overflows) call.Refuse("an integer beyond 64 bits");
  return Value::Int(result);
}

Value CalculateFloat(std::string_view op, double a, double b, const Call& call) {
  if (op == "+") return Value::Float(a + b);
  if (op == "-") return Value::Float(a - b);
  if (op == "*") return Value::Float(a * b);
  if (b == 0) call.Refuse("division by zero");
  if (op == "/") return Value::Float(a / b);
  if (op == "//") return Value::Float(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return Value::Float(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

Value Repeat(const Value& value, int64_t times, const Call& call) {
  const bool is_string = value.Is(Type::kString);
  const size_t size = is_string ? value.string().size() : value.list().size();
  const auto n = static_cast<uint64_t>(std::clamp<int64_t>(times, 0, int64_t{1} << 30));
  if (size == 0 || n == 0) return is_string ? Value::String("") : Value::MakeList({});
  call.budget()->Bytes(n * (size * (is_string ? 1 : sizeof(Value))));  // at most 2^30 * 2^34
  std::string text;
  List items;
  for (uint64_t i = 0; i < n; ++i) {
    if (is_string) {
      text += value.string();
    } else {
      items.insert(items.end(), value.list().begin(), value.list().end());
    }
  }
  return is_string ? Value::String(std::move(text)) : Value::MakeList(std::move(items));
}

bool IsIn(const Value& item, const Value& container, const Call& call) {
  switch (container.type()) {
    case Type::kUndefined:
      return false;
    case Type::kString:
      return Find(container.string(), call.String(item), 0, call.budget()) != std::string::npos;
    case Type::kDict:
      return item.Is(Type::kString) &&
             std::any_of(container.dict().begin(), container.dict().end(), [&](const auto& entry) {
               call.budget()->Work(16);
               return entry.first == item.string();
             });
    case Type::kList:
      return std::any_of(container.list().begin(), container.list().end(),
                         [&](const Value& other) { return AreEqual(item, other, call.budget()); });
    default:
      call.Fail("a string, list or mapping after in", container);
  }
}

/// -1, 0 or 1, or 2 where a NaN takes part.
int Order(const Value& a, const Value& b, const Call& call) {
  if (a.IsWhole() && b.IsWhole()) return a.whole() < b.whole() ? -1 : a.whole() > b.whole() ? 1 : 0;
  if (a.IsNumber() && b.IsNumber()) {
    if (std::isnan(a.number()) || std::isnan(b.number())) return 2;
    return a.number() < b.number() ? -1 : a.number() > b.number() ? 1 : 0;
  }
  if (!a.Is(Type::kString)) call.Fail("numbers or strings to compare", a);
  call.budget()->Work(a.string().size());
  const int order = a.string().compare(call.String(b));
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

}  // namespace

size_t Find(std::string_view text, std::string_view part, size_t from, Budget* budget) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  // memmem takes linear time; std::string's search compares every byte of part at every place.
  const std::string_view rest = text.substr(from);
  const void* found = memmem(rest.data(), rest.size(), part.data(), part.size());
  const size_t at = found == nullptr
                        ? std::string_view::npos
                        : from + static_cast<size_t>(static_cast<const char*>(found) - rest.data());
  budget->Work(part.size() + (found == nullptr ? rest.size() : at - from));
  return at;
}

size_t FindLast(std::string_view text, std::string_view part, Budget* budget) {
  // Every byte of part at every place, at worst: paid for before it happens.
  budget->Work(text.size() > 0 && part.size() > SIZE_MAX / 2 / text.size()
                   ? SIZE_MAX / 2
                   : text.size() * part.size());
  return text.rfind(part);
}

Value Calculate(std::string_view op, const Value& a, const Value& b, const Call& call) {
  if (op == "~") {
    return call.NewString(ToText(a, call.budget()) + ToText(b, call.budget()));
  }
  if (a.IsWhole() && b.IsWhole()) return CalculateWhole(op, a.whole(), b.whole(), call);
  if (a.IsNumber() && b.IsNumber()) return CalculateFloat(op, a.number(), b.number(), call);
  const bool is_series = a.Is(Type::kString) || a.Is(Type::kList);
  if (op == "*" && is_series && b.IsWhole()) return Repeat(a, b.whole(), call);
  if (op != "+" || !is_series || a.type() != b.type()) {
    call.Refuse(fmt::format("expected two numbers{}, found {} and {}",
                            op == "+" ? ", strings or lists" : "", TypeName(a), TypeName(b)));
  }
  if (a.Is(Type::kString)) {
    call.budget()->Bytes(a.string().size() + b.string().size());
    return call.NewString(a.string() + b.string());
  }
  call.budget()->Bytes(sizeof(Value) * (a.list().size() + b.list().size()));
  List items = a.list();
  items.insert(items.end(), b.list().begin(), b.list().end());
  return Value::MakeList(std::move(items));
}

bool Compare(std::string_view op, const Value& a, const Value& b, const Call& call) {
  if (op == "==") return AreEqual(a, b, call.budget());
  if (op == "!=") return !AreEqual(a, b, call.budget());
  if (op == "in") return IsIn(a, b, call);
  if (op == "not in") return !IsIn(a, b, call);
  const int order = Order(a, b, call);
  if (order == 2) return false;
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  return op == ">" ? order > 0 : order >= 0;
}

Value Index(const Value& object, const Value& index, const Call& call) {
  switch (object.type()) {
    case Type::kUndefined:
      call.Fail("a value to take a member of", object);
    case Type::kDict:
      return index.Is(Type::kString) ? FindKey(object.dict(), index.string(), call.budget())
                                     : Value();
    case Type::kNamespace: {
      if (!index.Is(Type::kString)) return {};
      const auto member = object.space()->members.find(index.string());
      return member == object.space()->members.end() ? Value() : member->second;
    }
    case Type::kList:
    case Type::kString:
      break;
    default:
      return {};
  }
  if (!index.IsWhole()) return {};
  const bool is_list = object.Is(Type::kList);
  std::vector<std::string_view> characters;
  if (!is_list) {
    call.budget()->Bytes(sizeof(std::string_view) * object.string().size());
    characters = Characters(object.string());
  }
  const auto n = static_cast<int64_t>(is_list ? object.list().size() : characters.size());
  if (index.whole() >= n || index.whole() < -n) return {};
  const auto at = static_cast<size_t>(index.whole() < 0 ? index.whole() + n : index.whole());
  return is_list ? object.list()[at] : call.NewString(characters[at]);
}

Value Slice(const Value& object, const Value& begin, const Value& end, const Value& step,
            const Call& call) {
  const bool is_list = object.Is(Type::kList);
  if (!is_list && !object.Is(Type::kString)) call.Fail("a list or string to slice", object);
  const List items = call.Items(object);
  const auto n = static_cast<int64_t>(items.size());
  const int64_t stride = call.WholeOr(step, 1);
  if (stride == 0) call.Refuse("a slice with step 0");
  const bool forward = stride > 0;
  // As Python: a negative place counts from the end; what is outside is cut off.
  const auto place = [&](const Value& value, int64_t otherwise) {
    int64_t at = call.WholeOr(value, otherwise);
    if (value.IsWhole() && at < 0) at = at < -n ? -1 - (forward ? 0 : n) : at + n;
    return std::clamp<int64_t>(at, forward ? 0 : -1, forward ? n : n - 1);
  };
  const int64_t first = place(begin, forward ? 0 : n - 1), last = place(end, forward ? n : -1);
  List taken;
  for (int64_t at = first; forward ? at < last : at > last;) {
    taken.push_back(items[static_cast<size_t>(at)]);
    if (__builtin_add_overflow(at, stride, &at)) break;
  }
  if (is_list) return call.NewList(std::move(taken));
  std::string text;
  for (const Value& character : taken) text += character.string();
  return call.NewString(std::move(text));
}

}  // namespace mixtral::jinja
