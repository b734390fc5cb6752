// SPDX-License-Identifier: Apache-2.0
// Jinja templates that write the built-in formats, as published templates do in other words. For
// the tests of text/ only.
#pragma once

#include <string_view>

namespace mixtral::test {

/// mistral-v1 with the spaces that a tokenizer adds left to it.
inline constexpr std::string_view kV1Template = R"({{ bos_token }}
{%- if messages[0].role == 'system' %}
  {%- set lead = messages[0].content ~ '\n\n' %}
  {%- set turns = messages[1:] %}
{%- else %}
  {%- set lead, turns = '', messages %}
{%- endif %}
{%- for turn in turns %}
  {%- if turn.role == 'user' %}
    {{- '[INST] ' ~ (lead if loop.first else '') ~ turn.content ~ ' [/INST]' }}
  {%- elif turn.role == 'assistant' %}
    {{- ' ' + turn['content'] + eos_token }}
  {%- else %}
    {{- raise_exception('expected a user or an assistant, found ' + turn.role) }}
  {%- endif %}
{%- endfor %})";

/// The same with every space written out.
inline constexpr std::string_view kV1SpacedTemplate = R"({{ bos_token }}
{%- set ns = namespace(lead='') %}
{%- for turn in messages %}
  {%- if turn.role == 'system' %}
    {%- set ns.lead = turn.content ~ '\n\n' %}
  {%- elif turn.role == 'user' %}
    {{- ' [INST] ' ~ ns.lead ~ turn.content ~ ' [/INST]' }}
    {%- set ns.lead = '' %}
  {%- else %}
    {{- ' ' ~ turn.content ~ eos_token }}
  {%- endif %}
{%- endfor %})";

/// Without system prompt, and without the space before an answer, as first published.
inline constexpr std::string_view kV1TightTemplate =
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}"
    "{% endfor %}";

/// mistral-v3 with tools.
inline constexpr std::string_view kV3Template = R"({{ bos_token }}
{%- set system = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | join('\n\n') %}
{%- set users = messages | selectattr('role', 'equalto', 'user') | list | length %}
{%- set ns = namespace(user=0) %}
{%- for m in messages if m.role != 'system' %}
  {%- if m.role == 'user' %}
    {%- set ns.user = ns.user + 1 %}
    {%- if ns.user == users and tools is not none %}
      {{- '[AVAILABLE_TOOLS] ' ~ tools | tojson ~ '[/AVAILABLE_TOOLS]' }}
    {%- endif %}
    {{- '[INST] ' ~ (system ~ '\n\n' if system and ns.user == users else '') ~ m.content ~ '[/INST]' }}
  {%- elif m.tool_calls is defined %}
    {%- set parts = namespace(calls=[]) %}
    {%- for call in m.tool_calls %}
      {%- set parts.calls = parts.calls + [{'name': call.function.name, 'arguments': call.function.arguments, 'id': call.id}] %}
    {%- endfor %}
    {{- '[TOOL_CALLS] ' ~ parts.calls | tojson ~ eos_token }}
  {%- elif m.role == 'tool' %}
    {{- '[TOOL_RESULTS] ' ~ {'content': m.content, 'call_id': m.tool_call_id} | tojson ~ '[/TOOL_RESULTS]' }}
  {%- else %}
    {{- ' ' ~ m.content.rstrip(' ') ~ eos_token }}
  {%- endif %}
{%- endfor %})";

inline constexpr std::string_view kLlama2Template = R"(
{%- if messages[0].role == 'system' %}
  {%- set lead, turns = '<<SYS>>\n' ~ messages[0].content ~ '\n<</SYS>>\n\n', messages[1:] %}
{%- else %}
  {%- set lead, turns = '', messages %}
{%- endif %}
{%- for turn in turns %}
  {%- if turn.role == 'user' %}
    {%- set content = lead ~ turn.content if loop.first else turn.content %}
    {{- bos_token ~ '[INST] ' ~ content | trim ~ ' [/INST]' }}
  {%- else %}
    {{- ' ' ~ turn.content.strip() ~ ' ' ~ eos_token }}
  {%- endif %}
{%- endfor %})";

/// No bos_token in it: the tokenizer is to add it.
inline constexpr std::string_view kChatMlTemplate =
    "{% for m in messages %}\n"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

inline constexpr std::string_view kChatMlTemplateWithNewlines =
    "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt }}";

}  // namespace mixtral::test
