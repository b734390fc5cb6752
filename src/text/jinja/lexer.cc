// SPDX-License-Identifier: Apache-2.0
// Rules of white space, in Jinja's order: "\r\n" and "\r" are "\n"; one "\n" at the end of the
// template goes; "-" at a tag strips all space on that side; otherwise the spaces between the begin
// of a line and "{%" or "{#" go (unless "{%+"), and so does one "\n" after "%}" or "#}" (unless
// "+%}").
#include "text/jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "text/jinja/utf8.h"

namespace mixtral::jinja {
namespace {

constexpr std::string_view kSpace = " \t\n\v\f\r";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameBegin(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

std::string NormaliseLines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text.push_back(source[i]);
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> Run() {
    while (at_ < source_.size()) {
      const size_t tag = FindTag();
      const std::string_view text = source_.substr(at_, tag - at_);
      if (tag == std::string_view::npos) {
        Add(TokenType::kText, text);
        break;
      }
      AddTextBefore(text, source_.substr(tag));
      Advance(text.size());
      const char kind = source_[at_ + 1];
      if (kind == '#') {
        LexComment();
      } else {
        LexTag(kind);
      }
      at_line_begin_ = source_[at_ - 1] == '\n';
    }
    Add(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Fail(std::string_view expected, std::string_view found) const {
    Throw(ErrorCode::kCorrupt, "chat template line {}: expected {}, found {}", line_, expected,
          Printable(found, 30));
  }
  std::string_view Rest() const { return source_.substr(at_); }
  void Advance(size_t n) {
    const std::string_view passed = source_.substr(at_, n);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    at_ += passed.size();
  }
  void SkipSpace() { Advance(std::min(Rest().find_first_not_of(kSpace), Rest().size())); }
  void Add(TokenType type, std::string_view text) {
    if (type == TokenType::kText && text.empty()) return;
    tokens_.push_back({type, std::string(text), line_});
  }

  size_t FindTag() const {
    for (size_t at = source_.find('{', at_); at != std::string_view::npos;
         at = source_.find('{', at + 1)) {
      if (at + 1 == source_.size()) break;
      const char kind = source_[at + 1];
      if (kind == '{' || kind == '%' || kind == '#') return at;
    }
    return std::string_view::npos;
  }

  void AddTextBefore(std::string_view text, std::string_view tag) {
    const char sign = tag.size() > 2 ? tag[2] : ' ';
    if (sign == '-') {
      text = text.substr(0, text.find_last_not_of(kSpace) + 1);
    } else if (sign != '+' && tag[1] != '{') {
      const size_t line_begin = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool is_whole_line = line_begin > 0 || at_line_begin_;
      if (is_whole_line && text.find_first_not_of(kSpace, line_begin) == std::string_view::npos) {
        text = text.substr(0, line_begin);
      }
    }
    Add(TokenType::kText, text);
  }

  void SkipSign() {
    Advance(2);
    if (Rest().starts_with('-') || Rest().starts_with('+')) Advance(1);
  }

  /// At "-%}", "+%}" or "%}" (end is "%}", "#}" or "}}"): passes it and the space that goes with
  /// it.
  bool TakeEnd(std::string_view end) {
    const char sign = Rest().empty() ? ' ' : Rest()[0];
    const bool is_signed = sign == '-' || (sign == '+' && end != "}}");
    if (Rest().substr(is_signed ? 1 : 0, 2) != end) return false;
    Advance(is_signed ? 3 : 2);
    if (sign == '-') {
      SkipSpace();
    } else if (!is_signed && end != "}}" && Rest().starts_with('\n')) {
      Advance(1);
    }
    return true;
  }

  void LexComment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == std::string_view::npos) Fail("#} after {#", "the template's end");
    const char sign = source_[end - 1];
    const char begin_sign = source_[at_ + 2];  // of "{#-#}" the sign is the begin's
    const size_t body = at_ + (begin_sign == '-' || begin_sign == '+' ? 3 : 2);
    const bool is_signed = (sign == '-' || sign == '+') && end > body;
    Advance(end - at_ - (is_signed ? 1 : 0));
    TakeEnd("#}");
  }

  void LexTag(char kind) {
    const bool is_block = kind == '%';
    const std::string_view end = is_block ? "%}" : "}}";
    const int begin_line = line_;
    Add(is_block ? TokenType::kBlockBegin : TokenType::kOutputBegin, source_.substr(at_, 2));
    SkipSign();
    open_.clear();
    while (true) {
      SkipSpace();
      if (Rest().empty()) {
        line_ = begin_line;
        Fail(fmt::format("{} after {}", end, is_block ? "{%" : "{{"), "the template's end");
      }
      if (open_.empty()) {
        const int line = line_;
        if (TakeEnd(end)) {
          tokens_.push_back(
              {is_block ? TokenType::kBlockEnd : TokenType::kOutputEnd, std::string(end), line});
          return;
        }
      }
      LexToken();
    }
  }

  void LexToken() {
    const char c = Rest()[0];
    if (IsNameBegin(c)) {
      size_t n = 1;
      while (n < Rest().size() && (IsNameBegin(Rest()[n]) || IsDigit(Rest()[n]))) ++n;
      Add(TokenType::kName, Rest().substr(0, n));
      Advance(n);
    } else if (IsDigit(c)) {
      LexNumber();
    } else if (c == '"' || c == '\'') {
      LexString(c);
    } else {
      LexOperator();
    }
  }

  /// Digits with _ between them, then perhaps a fraction and an exponent.
  void LexNumber() {
    std::string number;
    size_t n = TakeDigits(0, &number);
    const auto at = [&](size_t i) { return i < Rest().size() ? Rest()[i] : ' '; };
    const bool has_fraction = at(n) == '.' && IsDigit(at(n + 1));
    if (has_fraction) {
      number.push_back('.');
      n = TakeDigits(n + 1, &number);
    }
    const size_t sign = at(n + 1) == '-' || at(n + 1) == '+' ? 1 : 0;
    const bool has_exponent = (at(n) == 'e' || at(n) == 'E') && IsDigit(at(n + 1 + sign));
    if (has_exponent) {
      number.push_back('e');
      if (at(n + 1) == '-') number.push_back('-');
      n = TakeDigits(n + 1 + sign, &number);
    }
    if (number.size() > 30) Fail("a number of at most 30 characters", number);
    Add(has_fraction || has_exponent ? TokenType::kFloat : TokenType::kInteger, number);
    Advance(n);
    if (!Rest().empty() && IsNameBegin(Rest()[0])) Fail("a decimal number", Rest());
  }

  /// Appends the digits from place n of the rest on; returns where they end.
  size_t TakeDigits(size_t n, std::string* digits) const {
    const std::string_view rest = Rest();
    for (; n < rest.size(); ++n) {
      if (IsDigit(rest[n])) {
        digits->push_back(rest[n]);
      } else if (rest[n] != '_' || n + 1 == rest.size() || !IsDigit(rest[n + 1])) {
        break;
      }
    }
    return n;
  }

  void LexString(char quote) {
    std::string value;
    size_t n = 1;
    for (; n < Rest().size() && Rest()[n] != quote; ++n) {
      if (Rest()[n] != '\\' || n + 1 == Rest().size()) {
        value.push_back(Rest()[n]);
        continue;
      }
      n += AppendEscape(Rest().substr(n + 1), &value);
    }
    if (n >= Rest().size()) Fail(fmt::format("{} at the end of a string", quote), Rest());
    Add(TokenType::kString, value);
    Advance(n + 1);
  }

  /// rest begins after the backslash; returns how many characters belong to the escape.
  size_t AppendEscape(std::string_view rest, std::string* value) const {
    constexpr std::string_view kNames = "ntrabfv0\\'\"\n";
    constexpr std::string_view kValues("\n\t\r\a\b\f\v\0\\'\"\n", 12);
    const size_t n_digits = rest[0] == 'x' ? 2 : rest[0] == 'u' ? 4 : rest[0] == 'U' ? 8 : 0;
    if (n_digits > 0) {
      uint32_t code = 0;
      const std::string_view digits = rest.substr(1, n_digits);
      const char* last = digits.data() + digits.size();
      const auto result = std::from_chars(digits.data(), last, code, 16);
      const bool is_surrogate = code >= 0xD800 && code < 0xE000;
      if (digits.size() != n_digits || result.ec != std::errc() || result.ptr != last ||
          is_surrogate || code > 0x10FFFF) {
        Fail("the hexadecimal digits of a character", rest);
      }
      AppendUtf8(code, value);
      return 1 + n_digits;
    }
    const size_t at = kNames.find(rest[0]);
    if (at == std::string_view::npos) {  // Python keeps the backslash
      value->push_back('\\');
      value->push_back(rest[0]);
    } else if (rest[0] != '\n') {
      value->push_back(kValues[at]);
    }
    return 1;
  }

  void LexOperator() {
    constexpr std::string_view kLong[] = {"//", "==", "!=", "<=", ">=", "**"};
    constexpr std::string_view kShort = "+-*/%~<>=()[]{}.,:|";
    const std::string_view two = Rest().substr(0, 2);
    const size_t n = std::find(std::begin(kLong), std::end(kLong), two) != std::end(kLong) ? 2 : 1;
    const char c = two[0];
    if (n == 1 && kShort.find(c) == std::string_view::npos) Fail("an expression", Rest());
    if (c == '(' || c == '[' || c == '{') open_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (open_.empty() || open_.back() != c) {
        Fail(open_.empty() ? "an expression" : std::string_view(&open_.back(), 1), Rest());
      }
      open_.pop_back();
    }
    Add(TokenType::kOperator, two.substr(0, n));
    Advance(n);
  }

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_begin_ = true;
  std::string open_;  // the closing brackets that are due
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Lex(std::string_view source) {
  if (source.size() > kMaxTemplateBytes) {
    Throw(ErrorCode::kUnsupported, "chat template: expected at most {} bytes, found {}",
          kMaxTemplateBytes, source.size());
  }
  if (!IsValidUtf8(source)) {
    Throw(ErrorCode::kCorrupt, "chat template: expected valid UTF-8, found other bytes");
  }
  const std::string text = NormaliseLines(source);
  return Lexer(text).Run();
}

}  // namespace mixtral::jinja
