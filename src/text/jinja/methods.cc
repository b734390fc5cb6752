// SPDX-License-Identifier: Apache-2.0
// Methods of strings and mappings: those of Python that chat templates call, on copies only.
#include <algorithm>
#include <array>

#include "text/jinja/call.h"
#include "text/jinja/utf8.h"

namespace mixtral::jinja {
namespace {

constexpr std::array<std::string_view, 20> kStringMethods = {
    "strip",   "lstrip", "rstrip",     "startswith", "endswith",     "split",       "rsplit",
    "upper",   "lower",  "title",      "capitalize", "replace",      "join",        "find",
    "isdigit", "count",  "splitlines", "rfind",      "removeprefix", "removesuffix"};
constexpr std::array<std::string_view, 4> kDictMethods = {"items", "keys", "values", "get"};

template <class Names>
bool Has(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value Strip(const std::string& text, Side side, const Call& call) {
  const Value set = call.Bind({"chars"})[0];
  call.budget()->Work(text.size());
  if (set.Is(Type::kUndefined) || set.Is(Type::kNone)) {
    return call.NewString(StripSpace(text, side));
  }
  call.budget()->Work(text.size() * std::min<size_t>(call.String(set).size(), 1 << 20));
  return call.NewString(StripCharacters(text, set.string(), side));
}

enum class At : uint8_t { kBegin, kEnd };

bool IsAt(const std::string& text, At at, const Call& call) {
  const Value part = call.Bind({"prefix"})[0];
  List parts = part.Is(Type::kList) ? part.list() : List{part};
  return std::any_of(parts.begin(), parts.end(), [&](const Value& item) {
    const std::string& affix = call.String(item);
    call.budget()->Work(affix.size());
    return at == At::kBegin ? text.starts_with(affix) : text.ends_with(affix);
  });
}

Value Split(const std::string& text, At from, const Call& call) {
  const std::vector<Value> bound = call.Bind({"sep", "maxsplit"});
  const int64_t limit = call.WholeOr(bound[1], -1);
  call.budget()->Bytes(sizeof(std::string_view) * text.size());
  if (bound[0].Is(Type::kUndefined) || bound[0].Is(Type::kNone)) {
    if (limit >= 0) call.Refuse("a limit without a separator is not supported");
    return call.NewStrings(SplitAtSpace(text));
  }
  const std::string& separator = call.String(bound[0]);
  if (separator.empty()) call.Refuse("expected a separator, found an empty string");
  std::vector<std::string_view> parts;
  std::string_view rest = text;
  while (limit < 0 || std::ssize(parts) < limit) {
    const size_t at = from == At::kBegin ? Find(rest, separator, 0, call.budget())
                                         : FindLast(rest, separator, call.budget());
    if (at == std::string_view::npos) break;
    parts.push_back(from == At::kBegin ? rest.substr(0, at) : rest.substr(at + separator.size()));
    rest = from == At::kBegin ? rest.substr(at + separator.size()) : rest.substr(0, at);
  }
  parts.push_back(rest);
  if (from == At::kEnd) std::reverse(parts.begin(), parts.end());
  return call.NewStrings(parts);
}

Value SplitLines(const std::string& text, const Call& call) {
  call.Bind({});
  std::vector<std::string_view> lines;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = rest.find_first_of("\r\n");
    lines.push_back(rest.substr(0, end));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + (rest.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return call.NewStrings(lines);
}

Value Replace(const std::string& text, const Call& call) {
  const std::vector<Value> bound = call.Bind({"old", "new", "count"});
  const std::string &old = call.String(bound[0]), &with = call.String(bound[1]);
  if (old.empty()) call.Refuse("expected text to replace, found an empty string");
  int64_t left = call.WholeOr(bound[2], -1);
  std::string out;
  size_t at = 0;
  for (; left != 0; --left) {
    const size_t found = Find(text, old, at, call.budget());
    if (found == std::string::npos) break;
    call.budget()->Bytes(with.size());
    out.append(text, at, found - at).append(with);
    at = found + old.size();
  }
  call.budget()->Bytes(text.size() - at);
  return call.NewString(std::move(out.append(text, at)));
}

Value ChangeCase(std::string_view name, std::string text, const Call& call) {
  call.Bind({});
  bool in_word = false;  // for title and capitalize
  for (char& c : text) {
    if (static_cast<uint8_t>(c) >= 0x80) call.Refuse("letters beyond ASCII are not supported");
    const bool is_upper = c >= 'A' && c <= 'Z', is_letter = is_upper || (c >= 'a' && c <= 'z');
    const bool make_upper = name == "upper" || (name != "lower" && !in_word);
    if (is_letter) c = static_cast<char>(make_upper ? c & ~0x20 : c | 0x20);
    in_word = name == "capitalize" || is_letter;
  }
  return call.NewString(std::move(text));
}

Value Join(const std::string& separator, const Call& call) {
  std::string text;
  const Value parts = call.Bind({"parts"})[0];
  const List items = call.Items(parts);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += separator;
    call.budget()->Bytes(separator.size() + call.String(items[i]).size());
    text += items[i].string();
  }
  return call.NewString(std::move(text));
}

Value Count(const std::string& text, const Call& call) {
  const Value part = call.Bind({"part"})[0];
  if (call.String(part).empty()) call.Refuse("expected text to count, found an empty string");
  int64_t n = 0;
  for (size_t at = 0; (at = Find(text, part.string(), at, call.budget())) != std::string::npos;
       at += part.string().size()) {
    ++n;
  }
  return Value::Int(n);
}

Value Place(std::string_view name, const std::string& text, const Call& call) {
  const Value part = call.Bind({"part"})[0];
  const std::string& wanted = call.String(part);
  const size_t at =
      name == "find" ? Find(text, wanted, 0, call.budget()) : FindLast(text, wanted, call.budget());
  if (at == std::string::npos) return Value::Int(-1);
  return Value::Int(static_cast<int64_t>(CountCharacters(std::string_view(text).substr(0, at))));
}

Value WithoutAffix(std::string_view name, std::string_view text, const Call& call) {
  const Value affix = call.Bind({"affix"})[0];
  if (name == "removeprefix" && text.starts_with(call.String(affix))) {
    text.remove_prefix(affix.string().size());
  }
  if (name == "removesuffix" && text.ends_with(call.String(affix))) {
    text.remove_suffix(affix.string().size());
  }
  return call.NewString(text);
}

Value CallStringMethod(std::string_view name, const std::string& text, const Call& call) {
  call.budget()->Work(text.size());
  if (name == "strip") return Strip(text, Side::kBoth, call);
  if (name == "lstrip") return Strip(text, Side::kLeft, call);
  if (name == "rstrip") return Strip(text, Side::kRight, call);
  if (name == "startswith") return Value::Bool(IsAt(text, At::kBegin, call));
  if (name == "endswith") return Value::Bool(IsAt(text, At::kEnd, call));
  if (name == "split") return Split(text, At::kBegin, call);
  if (name == "rsplit") return Split(text, At::kEnd, call);
  if (name == "splitlines") return SplitLines(text, call);
  if (name == "replace") return Replace(text, call);
  if (name == "join") return Join(text, call);
  if (name == "count") return Count(text, call);
  if (name == "find" || name == "rfind") return Place(name, text, call);
  if (name.starts_with("remove")) return WithoutAffix(name, text, call);
  if (name == "isdigit") {
    call.Bind({});
    return Value::Bool(!text.empty() && text.find_first_not_of("0123456789") == std::string::npos);
  }
  return ChangeCase(name, text, call);
}

Value CallDictMethod(std::string_view name, const Dict& dict, const Call& call) {
  if (name == "get") {
    const std::vector<Value> bound = call.Bind({"key", "default"});
    call.budget()->Work(16 * dict.size());
    for (const auto& [key, value] : dict) {
      if (bound[0].Is(Type::kString) && key == bound[0].string()) return value;
    }
    return bound[1].Is(Type::kUndefined) ? Value::None() : bound[1];
  }
  call.Bind({});
  List items;
  for (const auto& [key, value] : dict) {
    if (name == "values") {
      items.push_back(value);
    } else if (name == "keys") {
      items.push_back(call.NewString(key));
    } else {
      items.push_back(call.NewList({call.NewString(key), value}));
    }
  }
  return call.NewList(std::move(items));
}

}  // namespace

bool IsMethod(const Value& object, std::string_view name) {
  return (object.Is(Type::kString) && Has(kStringMethods, name)) ||
         (object.Is(Type::kDict) && Has(kDictMethods, name));
}

Value CallMethod(std::string_view name, const Value& object, const Call& call) {
  if (!IsMethod(object, name)) {
    call.Refuse(fmt::format("a method of {} that is not supported", TypeName(object)));
  }
  return object.Is(Type::kString) ? CallStringMethod(name, object.string(), call)
                                  : CallDictMethod(name, object.dict(), call);
}

}  // namespace mixtral::jinja
