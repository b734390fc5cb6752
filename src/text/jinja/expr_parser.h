// SPDX-License-Identifier: Apache-2.0
// Tokens -> expressions, with Jinja's precedences. Used by the statement parser alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace mixtral::jinja {

class ExprParser {
 public:
  explicit ExprParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  enum class Ternary : uint8_t { kNo, kYes };  // kNo: "x if y" is left to the caller
  ExprPtr ParseExpr(Ternary ternary = Ternary::kYes);
  /// a, b, c without brackets is a list.
  ExprPtr ParseTuple();

  const Token& Peek() const { return tokens_[at_]; }
  Token Take();
  bool TakeOperator(std::string_view text);
  bool TakeWord(std::string_view name);
  bool IsWord(std::string_view name) const;
  bool IsOperator(std::string_view text) const;
  void ExpectOperator(std::string_view text);
  std::string ExpectName(std::string_view what);
  [[noreturn]] void Fail(std::string_view expected) const;
  [[noreturn]] void Refuse(std::string_view construct) const;

 private:
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  ExprPtr ParseBinary(int level);
  ExprPtr ParseUnary(bool with_filters);
  ExprPtr ParsePrimary();
  ExprPtr ParseBracketed();
  ExprPtr ParsePostfix(ExprPtr expr);
  ExprPtr ParseSubscript(ExprPtr expr);
  ExprPtr ParseFilters(ExprPtr expr);
  ExprPtr ParseTest(ExprPtr expr);
  void ParseArguments(Expr* call);
  bool TakeCompareOperator(std::string* name);
  ExprPtr Make(ExprType type, std::string text = {}) const;
  void AddChild(Expr* parent, ExprPtr child) const;
  void Deepen(Expr* parent, const ExprPtr& child) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;  // of the recursion
};

}  // namespace mixtral::jinja
