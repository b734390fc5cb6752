// SPDX-License-Identifier: Apache-2.0
// Filters and tests. Those that a method of strings does as well are that method.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "text/jinja/call.h"
#include "text/jinja/json_text.h"
#include "text/jinja/utf8.h"

namespace mixtral::jinja {
namespace {

Value TextOf(const Value& input, const Call& call) {
  return input.Is(Type::kString) ? input : call.NewString(ToText(input, call.budget()));
}

Value Length(const Value& input, const Call& call) {
  call.Bind({});
  size_t n = 0;
  if (input.Is(Type::kString)) {
    call.budget()->Work(input.string().size());
    n = CountCharacters(input.string());
  } else if (input.Is(Type::kList)) {
    n = input.list().size();
  } else if (input.Is(Type::kDict)) {
    n = input.dict().size();
  } else if (!input.Is(Type::kUndefined)) {
    call.Fail("a string, list or mapping", input);
  }
  return Value::Int(static_cast<int64_t>(n));
}

Value ToJson(const Value& input, const Call& call) {
  const std::vector<Value> bound = call.Bind({"ensure_ascii", "indent", "separators", "sort_keys"});
  const bool has_separators = !bound[2].Is(Type::kUndefined) && !bound[2].Is(Type::kNone);
  if (IsTrue(bound[0]) || has_separators || IsTrue(bound[3])) {
    call.Refuse("ensure_ascii, separators and sort_keys are not supported");
  }
  const int64_t indent = call.WholeOr(bound[1], -1);
  if (indent > 16) call.Refuse("an indent above 16 is not supported");
  const int spaces = static_cast<int>(std::max<int64_t>(indent, -1));
  return call.NewString(DumpJson(input, spaces, call.budget()));
}

Value Default(const Value& input, const Call& call) {
  const std::vector<Value> bound = call.Bind({"default_value", "boolean"});
  if (!input.Is(Type::kUndefined) && (IsTrue(input) || !IsTrue(bound[1]))) return input;
  return bound[0].Is(Type::kUndefined) ? Value::String("") : bound[0];
}

/// "a.b" of an item.
Value Member(Value item, std::string_view path, const Call& call) {
  while (true) {
    const size_t dot = path.find('.');
    item = Index(item, call.NewString(path.substr(0, dot)), call);
    if (dot == std::string_view::npos || item.Is(Type::kUndefined)) return item;
    path.remove_prefix(dot + 1);
  }
}

Value Join(const Value& input, const Call& call) {
  const std::vector<Value> bound = call.Bind({"d", "attribute"});
  const std::string separator = ToText(bound[0], call.budget());
  std::string text;
  bool is_first = true;
  for (const Value& item : call.Items(input)) {
    if (!is_first) text += separator;
    is_first = false;
    call.budget()->Bytes(separator.size());
    text += ToText(bound[1].Is(Type::kString) ? Member(item, bound[1].string(), call) : item,
                   call.budget());
  }
  return call.NewString(std::move(text));
}

Value FirstOrLast(std::string_view name, const Value& input, const Call& call) {
  call.Bind({});
  const List items = call.Items(input);
  if (items.empty()) return {};
  return name == "first" ? items.front() : items.back();
}

Value ToWhole(const Value& input, const Call& call) {
  const std::vector<Value> bound = call.Bind({"default", "base"});
  if (!bound[1].Is(Type::kUndefined)) call.Refuse("a base is not supported");
  if (input.IsWhole()) return Value::Int(input.whole());
  double number = std::nan("");
  if (input.Is(Type::kFloat)) number = input.number();
  if (input.Is(Type::kString)) {
    const std::string_view digits = StripSpace(input.string(), Side::kBoth);
    const std::optional<Value> value =
        ParseJson(digits.starts_with('+') ? digits.substr(1) : digits);
    if (value && value->Is(Type::kInt)) return *value;
    if (value && value->Is(Type::kFloat)) number = value->number();
  }
  if (std::abs(number) < 9.2e18) return Value::Int(static_cast<int64_t>(number));
  return bound[0].Is(Type::kUndefined) ? Value::Int(0) : bound[0];
}

Value ToFloat(const Value& input, const Call& call) {
  const std::vector<Value> bound = call.Bind({"default"});
  if (input.IsNumber()) return Value::Float(input.number());
  if (input.Is(Type::kString)) {
    const std::optional<Value> value = ParseJson(StripSpace(input.string(), Side::kBoth));
    if (value && (value->Is(Type::kInt) || value->Is(Type::kFloat))) {
      return Value::Float(value->number());
    }
  }
  return bound[0].Is(Type::kUndefined) ? Value::Float(0) : bound[0];
}

Value Absolute(const Value& input, const Call& call) {
  call.Bind({});
  if (!input.IsNumber()) call.Fail("a number", input);
  if (input.Is(Type::kFloat)) return Value::Float(std::abs(input.number()));
  return input.whole() < 0 ? Calculate("-", Value::Int(0), input, call) : input;
}

Value Reverse(const Value& input, const Call& call) {
  call.Bind({});
  List items = call.Items(input);
  std::reverse(items.begin(), items.end());
  if (!input.Is(Type::kString)) return call.NewList(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.string();
  return call.NewString(std::move(text));
}

/// The rest of the arguments as a call of its own.
Call Inner(const Call& call, size_t first) {
  Call inner = call;
  const size_t n = std::min(first, inner.values.size());
  inner.values.erase(inner.values.begin(), inner.values.begin() + static_cast<ptrdiff_t>(n));
  return inner;
}

Value Map(const Value& input, const Call& call) {
  List mapped;
  const List items = call.Items(input);
  if (call.values.empty()) {
    const std::vector<Value> bound = call.Bind({"attribute", "default"});
    for (const Value& item : items) {
      const Value member = Member(item, call.String(bound[0]), call);
      mapped.push_back(member.Is(Type::kUndefined) ? bound[1] : member);
    }
  } else {
    const Call inner = Inner(call, 1);
    for (const Value& item : items) {
      mapped.push_back(CallFilter(call.String(call.values[0]), item, inner));
    }
  }
  return call.NewList(std::move(mapped));
}

/// select, reject, selectattr, rejectattr: [attribute,] test, the test's arguments.
Value Select(std::string_view name, const Value& input, const Call& call) {
  const bool wanted = name.starts_with("select"), by_member = name.ends_with("attr");
  const size_t at = by_member ? 1 : 0;
  if (by_member && call.values.empty()) call.Refuse("expected a member's name, found none");
  const Call inner = Inner(call, at + 1);
  List kept;
  for (const Value& item : call.Items(input)) {
    const Value value = by_member ? Member(item, call.String(call.values[0]), call) : item;
    const bool holds = call.values.size() > at
                           ? CallTest(call.String(call.values[at]), value, inner)
                           : IsTrue(value);
    if (holds == wanted) kept.push_back(item);
  }
  return call.NewList(std::move(kept));
}

bool IsOneOf(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool TestType(std::string_view name, const Value& input) {
  const Type type = input.type();
  if (name == "defined") return type != Type::kUndefined;
  if (name == "undefined") return type == Type::kUndefined;
  if (name == "none") return type == Type::kNone;
  if (name == "string") return type == Type::kString;
  if (name == "mapping") return type == Type::kDict;
  if (name == "boolean") return type == Type::kBool;
  if (name == "integer") return type == Type::kInt;
  if (name == "float") return type == Type::kFloat;
  if (name == "number") return input.IsNumber();
  if (name == "true") return type == Type::kBool && input.bool_value();
  if (name == "false") return type == Type::kBool && !input.bool_value();
  const bool has_items = type == Type::kString || type == Type::kList || type == Type::kDict;
  return has_items || type == Type::kUndefined;  // sequence, iterable
}

}  // namespace

Value CallFilter(std::string_view name, const Value& input, const Call& call) {
  call.budget()->Steps();
  if (IsOneOf(name, {"upper", "lower", "title", "capitalize", "replace"})) {
    return CallMethod(name, TextOf(input, call), call);
  }
  if (name == "trim") return CallMethod("strip", TextOf(input, call), call);
  if (name == "items" && input.Is(Type::kDict)) return CallMethod("items", input, call);
  if (name == "items" && input.Is(Type::kUndefined)) return Value::MakeList({});
  if (name == "length" || name == "count") return Length(input, call);
  if (name == "tojson") return ToJson(input, call);
  if (name == "default" || name == "d") return Default(input, call);
  if (name == "join") return Join(input, call);
  if (name == "first" || name == "last") return FirstOrLast(name, input, call);
  if (name == "string") return TextOf(input, call);
  if (name == "safe") return input;  // there is no escaping to be safe from
  if (name == "int") return ToWhole(input, call);
  if (name == "float") return ToFloat(input, call);
  if (name == "abs") return Absolute(input, call);
  if (name == "list") return call.NewList(call.Items(input));
  if (name == "reverse") return Reverse(input, call);
  if (name == "map") return Map(input, call);
  if (IsOneOf(name, {"select", "reject", "selectattr", "rejectattr"})) {
    return Select(name, input, call);
  }
  call.Refuse(fmt::format("filter '{}' is not supported for {}", name, TypeName(input)));
}

bool CallTest(std::string_view name, const Value& input, const Call& call) {
  call.budget()->Steps();
  if (IsOneOf(name, {"defined", "undefined", "none", "string", "mapping", "boolean", "integer",
                     "float", "number", "true", "false", "sequence", "iterable"})) {
    call.Bind({});
    return TestType(name, input);
  }
  if (name == "odd" || name == "even") {
    call.Bind({});
    return (call.Whole(input) % 2 != 0) == (name == "odd");
  }
  constexpr std::pair<std::string_view, std::string_view> kCompares[] = {
      {"equalto", "=="}, {"eq", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="},
      {"in", "in"},      {"lt", "<"},  {"gt", ">"},  {"le", "<="}, {"ge", ">="}};
  for (const auto& [test, op] : kCompares) {
    if (name == test) return Compare(op, input, call.Bind({"other"})[0], call);
  }
  if (name == "divisibleby") {
    const Value rest = Calculate("%", input, call.Bind({"num"})[0], call);
    return !IsTrue(rest);
  }
  call.Refuse(fmt::format("test '{}' is not supported", name));
}

}  // namespace mixtral::jinja
