// SPDX-License-Identifier: Apache-2.0
// A reader that answers "no JSON" instead of throwing: for tool results that is a normal outcome
// (they are then sent as a string).
#include "text/jinja/json_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "text/jinja/utf8.h"

namespace mixtral::jinja {
namespace {

constexpr int kMaxJsonDepth = 50;  // so that a message around it stays within kMaxValueDepth

void AppendString(std::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    constexpr std::string_view kPlain = "\"\\\n\r\t\b\f", kEscape = "\"\\nrtbf";
    if (const size_t at = kPlain.find(c); at != std::string_view::npos) {
      out->push_back('\\');
      out->push_back(kEscape[at]);
    } else if (static_cast<uint8_t>(c) < 0x20) {
      *out += fmt::format("\\u{:04x}", c);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

class Writer {
 public:
  Writer(int indent, Budget* budget) : indent_(indent), budget_(budget) {}

  void Write(const Value& value, int level) {
    budget_->Bytes(8);
    switch (value.type()) {
      case Type::kNone:
        out += "null";
        return;
      case Type::kBool:
        out += value.bool_value() ? "true" : "false";
        return;
      case Type::kFloat:
        out += JsonFloat(value.number());
        return;
      case Type::kString:
        budget_->Bytes(value.string().size());
        return AppendString(value.string(), &out);
      case Type::kList:
        return WriteItems(value.list(), "[]", level);
      case Type::kDict:
        return WriteItems(value.dict(), "{}", level);
      case Type::kInt:
        out += ToText(value, budget_);
        return;
      default:
        Throw(ErrorCode::kUnsupported, "chat template: tojson: expected plain data, found {}",
              TypeName(value));
    }
  }

  std::string out;

 private:
  static std::string JsonFloat(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return FloatText(value);
  }
  void WriteItem(const Value& item, int level) { Write(item, level); }
  void WriteItem(const std::pair<std::string, Value>& item, int level) {
    budget_->Bytes(item.first.size());
    AppendString(item.first, &out);
    out += ": ";
    Write(item.second, level);
  }
  void NewLine(int level) {
    const size_t spaces = static_cast<size_t>(indent_) * static_cast<size_t>(level);
    budget_->Bytes(spaces);
    out += '\n';
    out.append(spaces, ' ');
  }
  template <class Items>
  void WriteItems(const Items& items, std::string_view brackets, int level) {
    out += brackets[0];
    bool is_first = true;
    for (const auto& item : items) {
      if (!is_first) out += indent_ < 0 ? ", " : ",";
      if (indent_ >= 0) NewLine(level + 1);
      WriteItem(item, level + 1);
      is_first = false;
    }
    if (indent_ >= 0 && !items.empty()) NewLine(level);
    out += brackets[1];
  }

  int indent_;
  Budget* budget_;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::optional<Value> ReadAll() {
    Value value;
    if (!Read(&value, 0)) return std::nullopt;
    SkipSpace();
    return at_ == text_.size() ? std::optional<Value>(value) : std::nullopt;
  }

 private:
  void SkipSpace() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }
  bool Take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  bool TakeMark(char mark) {
    SkipSpace();
    return Take(std::string_view(&mark, 1));
  }

  bool Read(Value* value, int depth) {
    if (depth > kMaxJsonDepth) return false;
    SkipSpace();
    if (at_ == text_.size()) return false;
    if (Take("null")) return Set(value, Value::None());
    if (Take("true")) return Set(value, Value::Bool(true));
    if (Take("false")) return Set(value, Value::Bool(false));
    if (Take("NaN")) return Set(value, Value::Float(std::nan("")));  // Python reads these, too
    if (Take("Infinity")) return Set(value, Value::Float(HUGE_VAL));
    if (Take("-Infinity")) return Set(value, Value::Float(-HUGE_VAL));
    if (text_[at_] == '"') {
      std::string text;
      return ReadString(&text) && Set(value, Value::String(std::move(text)));
    }
    if (Take("[")) return ReadList(value, depth);
    if (Take("{")) return ReadDict(value, depth);
    return ReadNumber(value);
  }
  static bool Set(Value* to, Value value) {
    *to = std::move(value);
    return true;
  }

  bool ReadList(Value* value, int depth) {
    List items;
    if (!TakeMark(']')) {
      do {
        if (!Read(&items.emplace_back(), depth + 1)) return false;
      } while (TakeMark(','));
      if (!TakeMark(']')) return false;
    }
    return Set(value, Value::MakeList(std::move(items)));
  }

  bool ReadDict(Value* value, int depth) {
    Dict items;
    std::unordered_map<std::string, size_t> places;  // of a key given twice the last value counts
    if (!TakeMark('}')) {
      do {
        SkipSpace();
        std::string key;
        Value item;
        if (!ReadString(&key) || !TakeMark(':') || !Read(&item, depth + 1)) return false;
        const auto [place, is_new] = places.emplace(key, items.size());
        if (is_new) items.emplace_back(std::move(key), Value());
        items[place->second].second = std::move(item);
      } while (TakeMark(','));
      if (!TakeMark('}')) return false;
    }
    return Set(value, Value::MakeDict(std::move(items)));
  }

  /// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
  bool ReadNumber(Value* value) {
    const size_t begin = at_;
    Take("-");
    const size_t digits = CountDigits();
    if (digits == 0 || (digits > 1 && text_[at_ - digits] == '0')) return false;
    bool is_whole = true;
    if (Take(".")) {
      if (CountDigits() == 0) return false;
      is_whole = false;
    }
    if (Take("e") || Take("E")) {
      if (!Take("+")) Take("-");
      if (CountDigits() == 0) return false;
      is_whole = false;
    }
    const char *first = text_.data() + begin, *last = text_.data() + at_;
    if (is_whole) {
      int64_t whole = 0;
      return std::from_chars(first, last, whole).ec == std::errc() && Set(value, Value::Int(whole));
    }
    double number = 0;
    return std::from_chars(first, last, number).ec == std::errc() &&
           Set(value, Value::Float(number));
  }
  size_t CountDigits() {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ - begin;
  }

  bool ReadString(std::string* out) {
    if (!Take("\"")) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<uint8_t>(c) < 0x20) return false;
      if (c != '\\') {
        out->push_back(c);
      } else if (!ReadEscape(out)) {
        return false;
      }
    }
    return false;
  }
  bool ReadEscape(std::string* out) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kEscape = "\"\\/nrtbf", kPlain = "\"\\/\n\r\t\b\f";
    if (const size_t at = kEscape.find(c); at != std::string_view::npos) {
      out->push_back(kPlain[at]);
      return true;
    }
    uint32_t code = 0, low = 0;
    if (c != 'u' || !ReadHex(&code)) return false;
    if (code >= 0xD800 && code < 0xDC00) {  // only whole pairs: a Value holds UTF-8
      if (!Take("\\u") || !ReadHex(&low) || low < 0xDC00 || low > 0xDFFF) return false;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      return false;
    }
    AppendUtf8(code, out);
    return true;
  }
  bool ReadHex(uint32_t* code) {
    if (text_.size() - at_ < 4) return false;
    const char* first = text_.data() + at_;
    at_ += 4;
    return std::from_chars(first, first + 4, *code, 16).ptr == first + 4;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string DumpJson(const Value& value, int indent, Budget* budget) {
  Writer writer(indent, budget);
  writer.Write(value, 0);
  return std::move(writer.out);
}

std::optional<Value> ParseJson(std::string_view text) { return Reader(text).ReadAll(); }

}  // namespace mixtral::jinja
