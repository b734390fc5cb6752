// SPDX-License-Identifier: Apache-2.0
// Statements by recursive descent. A block ends at the tag that the caller names.
#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "base/error.h"
#include "text/jinja/expr_parser.h"

namespace mixtral::jinja {
namespace {

constexpr int kMaxBlockDepth = 40;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Block ParseAll() { return ParseBlock({}); }

 private:
  /// Reads up to "{% NAME" of one of the ends (which stays, with "{%" taken), or to the template's
  /// end when there is none.
  Block ParseBlock(std::initializer_list<std::string_view> ends) {
    if (++block_depth_ > kMaxBlockDepth) {
      tokens_.Refuse(fmt::format("nesting of more than {} blocks", kMaxBlockDepth));
    }
    Block block;
    while (true) {
      const Token& token = tokens_.Peek();
      if (token.type == TokenType::kEnd) {
        if (ends.size() > 0) tokens_.Fail(fmt::format("{{% {} %}}", *(ends.end() - 1)));
        break;
      }
      if (token.type == TokenType::kText) {
        Statement text = Make(StatementType::kText);
        text.text = tokens_.Take().text;
        block.push_back(std::move(text));
        continue;
      }
      if (token.type == TokenType::kOutputBegin) {
        tokens_.Take();
        Statement output = Make(StatementType::kOutput);
        output.value = tokens_.ParseTuple();
        Expect(TokenType::kOutputEnd, "'}}'");
        block.push_back(std::move(output));
        continue;
      }
      tokens_.Take();  // {%
      if (IsOneOf(ends)) break;
      ParseStatement(&block);
    }
    --block_depth_;
    return block;
  }

  bool IsOneOf(std::initializer_list<std::string_view> names) const {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view name) { return tokens_.IsWord(name); });
  }
  Statement Make(StatementType type) const {
    Statement statement;
    statement.type = type;
    statement.line = tokens_.Peek().line;
    return statement;
  }
  void Expect(TokenType type, std::string_view what) {
    if (tokens_.Peek().type != type) tokens_.Fail(what);
    tokens_.Take();
  }
  void ExpectBlockEnd() { Expect(TokenType::kBlockEnd, "'%}'"); }
  void ExpectEndTag(std::string_view name) {
    if (!tokens_.TakeWord(name)) tokens_.Fail(name);
    ExpectBlockEnd();
  }

  void ParseStatement(Block* block) {
    if (tokens_.TakeWord("if")) return block->push_back(ParseIf());
    if (tokens_.TakeWord("for")) return block->push_back(ParseFor());
    if (tokens_.TakeWord("set")) return block->push_back(ParseSet());
    if (tokens_.TakeWord("macro")) return block->push_back(ParseMacro());
    if (tokens_.TakeWord("generation")) {  // marks what training learns from: no text of its own
      ExpectBlockEnd();
      Statement group = Make(StatementType::kGroup);
      group.body = ParseBlock({"endgeneration"});
      ExpectEndTag("endgeneration");
      return block->push_back(std::move(group));
    }
    for (const auto type : {StatementType::kBreak, StatementType::kContinue}) {
      if (!tokens_.TakeWord(type == StatementType::kBreak ? "break" : "continue")) continue;
      if (loop_depth_ == 0) tokens_.Fail("a loop around break and continue");
      block->push_back(Make(type));
      return ExpectBlockEnd();
    }
    if (tokens_.Peek().type != TokenType::kName) tokens_.Fail("a statement after '{%'");
    tokens_.Refuse(fmt::format("statement '{}'", tokens_.Peek().text));
  }

  Statement ParseIf() {
    Statement statement = Make(StatementType::kIf);
    do {
      Branch branch;
      branch.condition = tokens_.ParseTuple();
      ExpectBlockEnd();
      branch.body = ParseBlock({"elif", "else", "endif"});
      statement.branches.push_back(std::move(branch));
    } while (tokens_.TakeWord("elif"));
    if (tokens_.TakeWord("else")) {
      ExpectBlockEnd();
      statement.otherwise = ParseBlock({"endif"});
    }
    ExpectEndTag("endif");
    return statement;
  }

  Statement ParseFor() {
    Statement statement = Make(StatementType::kFor);
    const bool in_brackets = tokens_.TakeOperator("(");
    do {
      statement.names.push_back(tokens_.ExpectName("a name after for"));
    } while (tokens_.TakeOperator(","));
    if (in_brackets) tokens_.ExpectOperator(")");
    if (!tokens_.TakeWord("in")) tokens_.Fail("in");
    statement.value = tokens_.ParseExpr(ExprParser::Ternary::kNo);
    if (tokens_.TakeWord("if")) statement.condition = tokens_.ParseExpr();
    if (tokens_.IsWord("recursive")) tokens_.Refuse("a recursive loop");
    ExpectBlockEnd();
    ++loop_depth_;
    statement.body = ParseBlock({"else", "endfor"});
    --loop_depth_;
    if (tokens_.TakeWord("else")) {
      ExpectBlockEnd();
      statement.otherwise = ParseBlock({"endfor"});
    }
    ExpectEndTag("endfor");
    return statement;
  }

  Statement ParseSet() {
    Statement statement = Make(StatementType::kSet);
    statement.names.push_back(tokens_.ExpectName("a name after set"));
    if (tokens_.TakeOperator(".")) {
      statement.text = tokens_.ExpectName("a namespace's member");
    } else {
      while (tokens_.TakeOperator(",")) {
        statement.names.push_back(tokens_.ExpectName("a name after ','"));
      }
    }
    if (tokens_.TakeOperator("=")) {
      statement.value = tokens_.ParseTuple();
      ExpectBlockEnd();
      return statement;
    }
    if (statement.names.size() > 1 || !statement.text.empty()) tokens_.Fail("'='");
    if (tokens_.IsOperator("|")) tokens_.Refuse("a filter in a set block");
    ExpectBlockEnd();
    statement.type = StatementType::kSetBlock;
    statement.body = ParseBlock({"endset"});
    ExpectEndTag("endset");
    return statement;
  }

  Statement ParseMacro() {
    Statement statement = Make(StatementType::kMacro);
    statement.text = tokens_.ExpectName("a macro's name");
    tokens_.ExpectOperator("(");
    while (!tokens_.TakeOperator(")")) {
      statement.names.push_back(tokens_.ExpectName("a parameter"));
      if (tokens_.TakeOperator("=")) {
        statement.defaults.push_back(tokens_.ParseExpr());
      } else if (!statement.defaults.empty()) {
        tokens_.Fail("'=' after a parameter that follows one with a default");
      }
      if (!tokens_.IsOperator(")")) tokens_.ExpectOperator(",");
    }
    ExpectBlockEnd();
    const int outer_loops = std::exchange(loop_depth_, 0);
    statement.body = ParseBlock({"endmacro"});
    loop_depth_ = outer_loops;
    if (!tokens_.TakeWord("endmacro")) tokens_.Fail("endmacro");
    if (tokens_.IsWord(statement.text)) tokens_.Take();  // {% endmacro name %}
    ExpectBlockEnd();
    return statement;
  }

  ExprParser tokens_;
  int block_depth_ = 0;
  int loop_depth_ = 0;  // loops around this place, in this macro
};

}  // namespace

Block Parse(std::string_view source) { return Parser(Lex(source)).ParseAll(); }

}  // namespace mixtral::jinja
