// SPDX-License-Identifier: Apache-2.0
// What the evaluator refuses: broken templates, what is outside the subset, and whatever would take
// too long, too much memory or too much stack.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/jinja/test_globals.h"

namespace mixtral::jinja {
namespace {

using test::Refusal;

struct Refused {
  const char* source;
  const char* message;
};

TEST(JinjaRefusal, BrokenTemplatesNameTheLine) {
  constexpr Refused kCases[] = {
      {"a\n{{ 1", "corrupt: chat template line 2: expected }} after {{, found the template's end"},
      {"{% if x", "corrupt: chat template line 1: expected %} after {%, found the template's end"},
      {"\n\n{# x", "corrupt: chat template line 3: expected #} after {#, found the template's end"},
      {"{% if x %}y",
       "corrupt: chat template line 1: expected {% endif %}, found the template's end"},
      {"{% for x in y %}{% endif %}",
       "unsupported: chat template line 1: statement 'endif' is not supported"},
      {"{{ 'abc }}",
       "corrupt: chat template line 1: expected ' at the end of a string, found 'abc }}"},
      {"{{ 1 + }}", "corrupt: chat template line 1: expected an expression, found '}}'"},
      {"{{ (1 }}", "corrupt: chat template line 1: expected ), found }}"},
      {"{{ [1) }}", "corrupt: chat template line 1: expected ], found ) }}"},
      {"{{ a b }}", "corrupt: chat template line 1: expected '}}', found 'b'"},
      {"{{ @ }}", "corrupt: chat template line 1: expected an expression, found @ }}"},
      {"{{ 1x }}", "corrupt: chat template line 1: expected a decimal number, found x }}"},
      {"{{ 99999999999999999999 }}",
       "corrupt: chat template line 1: expected an integer of 64 bits, found "
       "'99999999999999999999'"},
      {"{{ '\\u12' }}",
       "corrupt: chat template line 1: expected the hexadecimal digits of a character, found u12' "
       "}}"},
      {"{% break %}",
       "corrupt: chat template line 1: expected a loop around break and continue, found '%}'"},
      {"{% set x.y %}1{% endset %}", "corrupt: chat template line 1: expected '=', found '%}'"},
      {"\xC3", "corrupt: chat template: expected valid UTF-8, found other bytes"}};
  for (const Refused& item : kCases) EXPECT_EQ(Refusal(item.source), item.message) << item.source;
}

TEST(JinjaRefusal, WhatIsOutsideTheSubsetIsNamed) {
  constexpr Refused kCases[] = {
      {"x\n{% include 'f' %}",
       "unsupported: chat template line 2: statement 'include' is not supported"},
      {"{% import 'f' as f %}",
       "unsupported: chat template line 1: statement 'import' is not supported"},
      {"{% extends 'f' %}",
       "unsupported: chat template line 1: statement 'extends' is not supported"},
      {"{% raw %}{% endraw %}",
       "unsupported: chat template line 1: statement 'raw' is not supported"},
      {"{{ 2 ** 3 }}", "unsupported: chat template line 1: operator ** is not supported"},
      {"{{ f(*x) }}", "unsupported: chat template line 1: '*' before an argument is not supported"},
      {"{{ 'a' | pprint }}",
       "unsupported: chat template line 1: filter pprint: filter 'pprint' is not supported for a "
       "string"},
      {"{{ 1 is weird }}",
       "unsupported: chat template line 1: test weird: test 'weird' is not supported"},
      {"{{ open('f') }}", "unsupported: chat template line 1: function open: is not supported"},
      {"{{ strftime_now('%Y') }}",
       "unsupported: chat template line 1: function strftime_now: is not supported"},
      {"{{ 'a'.format(1) }}",
       "unsupported: chat template line 1: .format: a method of a string that is not supported"},
      {"{{ messages.append(1) }}",
       "unsupported: chat template line 1: .append: a method of a list that is not supported"},
      {"{{ 'a'.upper }}",
       "unsupported: chat template line 1: .upper: a method that is not called is not supported"},
      {"{{ ''.__class__.__mro__ }}",
       "unsupported: chat template line 1: .__mro__: expected a value to take a member of, found "
       "something undefined"},
      {"{{ nothing.x }}",
       "unsupported: chat template line 1: .x: expected a value to take a member of, found "
       "something "
       "undefined"}};
  for (const Refused& item : kCases) EXPECT_EQ(Refusal(item.source), item.message) << item.source;
}

TEST(JinjaRefusal, WrongOperandsAndArgumentsAreNamed) {
  constexpr Refused kCases[] = {
      {"{{ 'a' | trim(1, 2) }}",
       "unsupported: chat template line 1: filter trim: expected at most 1 arguments, found 2"},
      {"{{ d | tojson(sort_keys=true) }}",
       "unsupported: chat template line 1: filter tojson: ensure_ascii, separators and sort_keys "
       "are "
       "not supported"},
      {"{{ u | upper }}",
       "unsupported: chat template line 1: filter upper: letters beyond ASCII are not supported"},
      {"{{ 'x' ~ n + 1 }}",
       "unsupported: chat template line 1: operator +: expected two numbers, strings or lists, "
       "found a "
       "string and an integer"},
      {"{{ 1 // 0 }}", "unsupported: chat template line 1: operator //: division by zero"},
      {"{{ 9223372036854775807 + 1 }}",
       "unsupported: chat template line 1: operator +: an integer beyond 64 bits"},
      {"{{ (-9223372036854775807 - 1) // -1 }}",
       "unsupported: chat template line 1: operator //: an integer beyond 64 bits"},
      {"{% for i in 5 %}{% endfor %}",
       "unsupported: chat template line 1: for: expected something to loop over, found an integer"},
      {"{% for a, b in [1] %}{% endfor %}",
       "unsupported: chat template line 1: for: expected a list of 2, found an integer"},
      {"{% set x = 1 %}{% set x.y = 2 %}",
       "unsupported: chat template line 1: set: expected 'x' to be a namespace, found an integer"},
      {"{{ namespace(a=1) }}",
       "unsupported: chat template: expected a value to print, found a namespace"},
      {"{{ nothing | tojson }}",
       "unsupported: chat template: tojson: expected plain data, found something undefined"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}",
       "unsupported: chat template line 1: function m: argument 'b' is not one of the macro's"}};
  for (const Refused& item : kCases) EXPECT_EQ(Refusal(item.source), item.message) << item.source;
}

TEST(JinjaRefusal, OnlyWhatIsReachedIsRefused) {
  EXPECT_EQ(Refusal("{% if tools %}{{ tools | pprint }}{{ strftime_now() }}{% endif %}"), "");
}

std::string Repeated(std::string_view text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

TEST(JinjaRefusal, WorkIsBounded) {
  const std::pair<std::string, std::string_view> kCases[] = {
      {"{% for i in range(99999) %}{% for j in messages * 9999 %}{% endfor %}{% endfor %}",
       "found more"},
      {"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
       "expected evaluation at most 300 deep"},
      {"{{ range(9000000000) }}", "expected at most 100000 items, found more"},
      {"{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}", "16777216 bytes of output"},
      {"{{ 'x' * 99999999999 }}", "bytes made, found more"},
      {"{{ [1] * 99999999999 }}", "bytes made, found more"},
      {"{% set s = namespace(x='ab') %}{% for i in range(99) %}{% set s.x = s.x ~ s.x %}{% endfor "
       "%}",
       "bytes made, found more"},
      {"{% set s = namespace(x=[1]) %}{% for i in range(60) %}{% set s.x = [s.x, s.x] %}{% endfor "
       "%}"
       "{{ s.x }}",
       "bytes made, found more"},
      {"{% set s = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set s.x = [s.x, s.x] %}"
       "{% set s.y = [s.y, s.y] %}{% endfor %}{{ s.x == s.y }}",
       "bytes looked at, found more"},
      {"{% set s = namespace(x=[1]) %}{% for i in range(99) %}{% set s.x = [s.x] %}{% endfor %}",
       "expected lists at most 64 deep"},
      {"{% set a = 'a' * 1000000 %}{{ a.rfind('a' * 9000 ~ 'b') }}", "bytes looked at"},
      {"{% for i in range(99999) %}{% set x = messages * 99 %}{% endfor %}", "bytes made"}};
  for (const auto& [source, message] : kCases) {
    const std::string refusal = Refusal(source);
    EXPECT_TRUE(refusal.starts_with("unsupported: ")) << source << "\n" << refusal;
    EXPECT_NE(refusal.find(message), std::string::npos) << source << "\n" << refusal;
  }
}

TEST(JinjaRefusal, SearchesTakeLinearTime) {
  EXPECT_EQ(Refusal("{% set a = 'a' * 2000000 %}{% set b = 'a' * 1000000 ~ 'b' %}{{ b in a }}"
                    "{{ a.find(b) }}{{ a.count(b) }}{{ a.split(b) | length }}"),
            "");
}

TEST(JinjaRefusal, DepthIsBounded) {
  constexpr int kMany = 30'000;
  const std::string kCases[] = {"{{ " + Repeated("(", kMany) + "1" + Repeated(")", kMany) + " }}",
                                "{{ " + Repeated("[", kMany) + Repeated("]", kMany) + " }}",
                                "{{ " + Repeated("{1:", kMany) + "1" + Repeated("}", kMany) + " }}",
                                "{{ " + Repeated("not ", kMany) + "1 }}",
                                "{{ " + Repeated("- ", kMany) + "1 }}",
                                "{{ 1" + Repeated(" + 1", kMany) + " }}",
                                "{{ 1" + Repeated(" and 1", kMany) + " }}",
                                "{{ 1" + Repeated(" if 1 else 1", kMany / 2) + " }}",
                                "{{ d" + Repeated(".d", kMany) + " }}",
                                "{{ d" + Repeated("[0]", kMany) + " }}",
                                "{{ d" + Repeated("|list", kMany) + " }}",
                                "{{ d" + Repeated("()", kMany) + " }}",
                                Repeated("{% if 1 %}", kMany / 2),
                                Repeated("{% for i in [1] %}", kMany / 3)};
  for (const std::string& source : kCases) {
    const std::string refusal = Refusal(source);
    EXPECT_TRUE(refusal.starts_with("unsupported: chat template line 1: ")) << refusal;
    EXPECT_TRUE(refusal.find("deep") != std::string::npos ||
                refusal.find("nesting") != std::string::npos)
        << refusal;
  }
  EXPECT_EQ(Refusal(std::string(300 << 10, ' ')),
            "unsupported: chat template: expected at most 262144 bytes, found 307200");
}

TEST(JinjaRefusal, ANamespaceMayHoldItself) {  // and is freed all the same
  EXPECT_EQ(
      Refusal("{% set a = namespace() %}{% set a.b = [a] %}{% set a.c = a %}{{ a.b == [a] }}"), "");
}

/// source with a few random changes: pieces of templates put in, runs taken out or repeated.
std::string Mutate(std::string source, uint64_t seed) {
  constexpr std::string_view kPieces[] = {
      "{{",        "}}",       "{%",      "%}",          "{#",
      "#}",        "-%}",      "{%-",     " if ",        " else ",
      " for ",     " in ",     " set ",   " endif",      " endfor",
      "(",         ")",        "[",       "]",           "{",
      "}",         ".",        ":",       ",",           "|",
      "~",         " not ",    " is ",    " loop",       "'",
      "\"",        "\\",       "0",       "-1",          "1e9",
      " messages", " d",       " range(", "|tojson",     "|list",
      "|join",     "|map(",    "none",    "true",        "9223372036854775807",
      "\n",        "\xC3\xA9", " ns",     "=",           "==",
      " * ",       "//0",      "%",       " macro f(x) "};
  const CounterRng rng(seed, 7);
  const uint64_t n_changes = 1 + rng.Bits(0) % 4;
  for (uint64_t i = 0; i < n_changes && !source.empty(); ++i) {
    const size_t at = rng.Bits(10 * i + 1) % source.size(), length = 1 + rng.Bits(10 * i + 2) % 12;
    const uint64_t what = rng.Bits(10 * i + 3) % 6;
    if (what == 0) {
      source.erase(at, length);
    } else if (what == 1) {
      source.insert(at, source.substr(rng.Bits(10 * i + 4) % source.size(), length));
    } else {
      source.insert(at, kPieces[rng.Bits(10 * i + 5) % std::size(kPieces)]);
    }
  }
  return source;
}

TEST(JinjaRefusal, MutatedTemplatesOnlyThrow) {
  constexpr std::string_view kSources[] = {
      "{%- set ns = namespace(i=0, l=[]) %}{% for m in messages if m.role != 'system' %}{{ "
      "loop.index }}"
      "{{ m['content'] | trim }}{% set ns.l = ns.l + [m] %}{% else %}x{% endfor %}{{ ns.l[1:] | "
      "tojson }}",
      "{% macro f(a, b=2) -%} {{ a ~ b }} {%- endmacro %}{{ f(1) }}{{ f(d.b[-1].c, b='x') }}",
      "{{ 'a,b'.split(',') | map('upper') | join('-') }}{{ u[::-1] }}{{ range(3) | list }}{# c #}",
      "{% if d.a == 1 and not e or n > 2 %}{{ -n // 2 }}{% elif t %}{{ f * 2 }}{% endif %}{{ {'k': "
      "[1]} }}"};
  int n_refused = 0, n_accepted = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string source = Mutate(std::string(kSources[seed % 4]), seed);
    const std::string refusal = Refusal(source);
    ++(refusal.empty() ? n_accepted : n_refused);
    EXPECT_TRUE(refusal.empty() || refusal.starts_with("corrupt: chat template") ||
                refusal.starts_with("unsupported: chat template"))
        << source << "\n"
        << refusal;
  }
  EXPECT_GT(n_refused, 500);
  EXPECT_GT(n_accepted, 60);
}

}  // namespace
}  // namespace mixtral::jinja
