// SPDX-License-Identifier: Apache-2.0
// Statements and white space.
// Expected texts are those of Jinja 3.1 with trim_blocks, lstrip_blocks and Python's json.dumps as
// tojson.
#include <gtest/gtest.h>

#include "text/jinja/template.h"
#include "text/jinja/test_globals.h"

namespace mixtral::jinja {
namespace {

struct Case {
  const char* source;
  const char* expected;
};

constexpr Case kTemplates[] = {
    {"a {#-#}  b {#- -#}  c", "a  bc"},
    {"{{ d | tojson(indent=2) }}\n{{ [[], {}, [1]] | tojson(indent=4) }}",
     "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    2,\n    {\n      \"c\": null\n    }\n  ],\n  "
     "\"items\": 5\n}\n[\n    [],\n    {},\n    [\n        1\n    ]\n]"},
    {"{{ d.keys() | list }} {{ d.get('a') }} {{ d.get('zz') }} {{ d.get('zz', 5) }} {{ d.values() "
     "| list }} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
     "['a', 'b', 'items'] 1 None 5 [1, [1, 2, {'c': None}], 5] a=1;b=[1, 2, {'c': None}];items=5;"},
    {"{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ "
     "loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ m.role }};{% endfor %}",
     "10TrueFalse443system;21FalseFalse432user;32FalseFalse421assistant;43FalseTrue410user;"},
    {"{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ m.content "
     "}}{% else %}none{% endfor %}{% for m in [] %}x{% else %}empty{% endfor %}{% for c in 'ab' "
     "%}<{{ c }}>{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for x in nothing %}x{% endfor "
     "%}",
     "1/2 Hi <b> 2/2Byeempty<a><b>abitems"},
    {"{% for a, b in [[1, 2], [3, 4]] %}{{ a }}-{{ b }} {% endfor %}{% for (a, b) in [(5, 6)] %}{{ "
     "a }}{{ b }}{% endfor %}",
     "1-2 3-4 56"},
    {"{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(1, 7, 2) %}{{ i }}{% endfor %}{% "
     "for i in range(3, 0, -1) %}{{ i }}{% endfor %}{{ range(2) | list }}",
     "012135321[0, 1]"},
    {"{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% "
     "endif %}{{ i }}{% endfor %}",
     "0134"},
    {"{% set x = 1 %}{% for i in [1,2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if true "
     "%}{% set x = 9 %}{% endif %}{{ x }}",
     "2319"},
    {"{% set ns = namespace(a=1, l=[]) %}{% for i in [1,2] %}{% set ns.a = ns.a + i %}{% set ns.l "
     "= ns.l + [i] %}{% endfor %}{{ ns.a }}{{ ns.l }}{{ ns.zz }}|{{ ns['a'] }}",
     "4[1, 2]|4"},
    {"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c[1] }}{% set blk %}x{{ a }}y{% "
     "endset %}{{ blk }}{{ blk | length }}",
     "122x1y3"},
    {"{% if n == 1 %}one{% elif n == 3 %}three{% else %}other{% endif %}{% if not e %}empty{% "
     "endif %}{% if [] or {} or 0 or 0.0 or none or nothing %}t{% else %}f{% endif %}",
     "threeemptyf"},
    {"{% macro hi(name, greet='Hi', n=2) %}{{ greet }} {{ name }}{{ n }}!{% endmacro %}{{ hi('A') "
     "}}{{ hi('B', 'Yo') }}{{ hi(name='C', n=5) }}{{ hi() }}",
     "Hi A2!Yo B2!Hi C5!Hi 2!"},
    {"{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}{% set "
     "q = f(2) %}{{ q ~ q }}{% macro g() %}{{ bos_token }}{{ loop is defined }}{% endmacro %}{% "
     "for i in [1] %}{{ g() }}{% endfor %}",
     "3212121<s>False"},
    {"{% for i in [1,2] %}{% for j in [3] %}{{ loop.index }}{{ i }}{{ j }}{% endfor %}{{ "
     "loop.index }}{% endfor %}{% for i in [1,2,3] %}{{ loop.previtem }}{{ loop.nextitem }},{% "
     "endfor %}",
     "113112322,13,2,"},
    {"{% set x = dict(a=1, b='c') %}{{ x }}{{ x.a }}{{ {'a': 1, 'a': 2} }}",
     "{'a': 1, 'b': 'c'}1{'a': 2}"},
    {"a\n  {% if true %}\n  b\n  {% endif %}\n c {# x #}\n d", "a\n  b\n c  d"},
    {"a\n  {%+ if true %}\n  b {%- endif %}  \n c", "a\n    b  \n c"},
    {"  {{- 'x' -}}  \n y {%- if true -%}  z  {%- endif -%}\n w ", "xyzw "},
    {"{% if true +%}\nx{% endif %}\n\n{% if true %}\n\ny{% endif %}", "\nx\n\ny"},
    {"x\r\ny\r{% if true %}\r\nz{% endif %}\n", "x\ny\nz"},
    {"{#- c -#}  a {# multi\nline #} b {#- #} c\n", "a  b c"},
    {"\t {% set x = 1 %} {% set y = 2 %}\n{{ x }} {{ y }}\n", " 1 2"},
    {"{{ 'a}}b' }}{{ {'a': {'b': '%}'}}['a']['b'] }}{{ '{{' }}{% if '%}' %}k{% endif %}",
     "a}}b%}{{k"},
    {"{% for m in messages %}\n    {% if loop.first %}\n    F\n    {% endif %}\n{{ m.role }}\n{% "
     "endfor %}\nend\n",
     "    F\nsystem\nuser\nassistant\nuser\nend"},
    {"lone { brace } and {x} %} }} #}", "lone { brace } and {x} %} }} #}"},
    {"{{ 'a'\n ~ 'b' }}{% set x = [\n 1,\n 2,\n] %}{{ x }}", "ab[1, 2]"},
};

TEST(JinjaStatement, IsJinjas) {
  const Globals globals = test::SomeGlobals();
  for (const Case& item : kTemplates) {
    SCOPED_TRACE(item.source);
    EXPECT_EQ(Template(item.source).Render(globals), item.expected);
  }
}

TEST(JinjaStatement, GenerationBlocksWriteTheirBody) {
  const Template marked("a{% generation %}b{{ 1 }}{% endgeneration %}c");
  EXPECT_EQ(marked.Render({}), "ab1c");
}

TEST(JinjaStatement, RaiseExceptionEndsTheRendering) {
  const Template raising(
      "a{% for i in [1, 2] %}{{ i }}{{ raise_exception('no ' ~ i) }}b{% endfor %}c");
  const Output output = raising.TryRender({});
  EXPECT_EQ(output.text, "a1");
  EXPECT_EQ(output.raised, "no 1");
  EXPECT_EQ(mixtral::test::ErrorOf([&] { raising.Render({}); }),
            "invalid argument: chat template: no 1");
}

}  // namespace
}  // namespace mixtral::jinja
