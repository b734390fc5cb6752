# SPDX-License-Identifier: Apache-2.0
"""Tool calls from end to end: the tiny model with a chat template that has tools. It knows nothing of tools, so calls are
demanded: name and beginning are certain then, the arguments are whatever the model goes on with."""
import os
import struct
import tempfile
import unittest

from support import MODEL, ServerCase

TEMPLATE = ("{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
            "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}")
TOOLS = [{"type": "function", "function": {"name": "get_page", "description": "A page", "parameters": {
    "type": "object", "properties": {"n": {"type": "integer"}}}}}]
NAMED = {"type": "function", "function": {"name": "get_page"}}
CHAT = {"messages": [{"role": "user", "content": "Page 3?"}], "max_tokens": 12, "temperature": 0, "ignore_eos": True}


def with_template(path, out):
    """A GGUF file with one more string in its metadata, of a length that keeps the data aligned."""
    with open(path, "rb") as file:
        image = file.read()
    key = b"tokenizer.chat_template"
    size = 8 + len(key) + 4 + 8 + len(TEMPLATE) + 4
    text = TEMPLATE.encode() + b"{#" + b"x" * (-size % 32) + b"#}"
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(text)) + text
    n_pairs = struct.unpack_from("<Q", image, 16)[0]
    with open(out, "wb") as file:
        file.write(image[:16] + struct.pack("<Q", n_pairs + 1) + pair + image[24:])


class Tools(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = os.path.join(cls.folder.name, "tools.gguf")
        with_template(MODEL, cls.model)
        cls.flags = ("--chat-format", "template")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def chat(self, **fields):
        answer = self.server.post("/v1/chat/completions", {**CHAT, "tools": TOOLS, **fields})
        self.assertEqual(answer.status, 200, answer.body)
        return answer

    def test_whole_call(self):
        message = self.chat(tool_choice=NAMED).json()["choices"][0]["message"]
        self.assertIsNone(message["content"])
        call = message["tool_calls"][0]
        self.assertEqual((call["type"], call["function"]["name"]), ("function", "get_page"))
        self.assertTrue(call["function"]["arguments"].startswith("{"))
        self.assertTrue(len(call["id"]) == 9 and call["id"].isalnum(), call["id"])

    def test_streamed_call(self):
        whole = self.chat(tool_choice=NAMED).json()["choices"][0]["message"]["tool_calls"][0]
        chunks = self.chat(tool_choice=NAMED, stream=True).events()[:-1]
        parts = [part for c in chunks for part in c["choices"][0]["delta"].get("tool_calls", [])]
        self.assertEqual(parts[0]["function"]["name"], "get_page")
        self.assertIn("id", parts[0])
        self.assertTrue(all("id" not in p and "name" not in p["function"] and p["index"] == 0 for p in parts[1:]))
        self.assertEqual("".join(p["function"]["arguments"] for p in parts), whole["function"]["arguments"])
        self.assertGreater(len(parts), 1)

    def test_a_whole_call_ends_with_tool_calls(self):
        close = self.server.post("/tokenize", {"content": "a}"}).json()["tokens"][-1]
        choice = self.chat(tool_choice=NAMED, logit_bias={str(close): 100}, stop=["}}"],
                           include_stop_str_in_output=True).json()["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["message"]["tool_calls"][0]["function"]["arguments"], "{}")

    def test_auto_and_none_give_text(self):
        for choice in ("auto", "none"):
            message = self.chat(tool_choice=choice).json()["choices"][0]["message"]
            self.assertTrue(message["content"])
            self.assertNotIn("tool_calls", message)

    def test_tools_are_in_the_prompt_unless_none(self):
        prompt = self.server.post("/apply-template", {**CHAT, "tools": TOOLS}).json()["prompt"]
        self.assertIn("get_page", prompt)
        prompt = self.server.post("/apply-template", {**CHAT, "tools": TOOLS, "tool_choice": "none"}).json()["prompt"]
        self.assertNotIn("get_page", prompt)

    def test_allowed_tools_leave_the_others_out(self):
        both = TOOLS + [{"type": "function", "function": {"name": "set_page", "parameters": {"type": "object"}}}]

        def choice(mode, *names):
            tools = [{"type": "function", "function": {"name": name}} for name in names]
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
        prompt = self.server.post("/apply-template", {**CHAT, "tools": both, "tool_choice": choice("auto", "get_page")}).json()["prompt"]
        self.assertIn("get_page", prompt)
        self.assertNotIn("set_page", prompt)
        # Demanded, the call's beginning is part of the prompt: [TOOL_CALLS] [{"name": "
        usage = [self.chat(tools=both, tool_choice=choice(mode, "get_page")).json()["usage"] for mode in ("auto", "required")]
        self.assertLess(usage[0]["prompt_tokens"], usage[1]["prompt_tokens"])
        for bad in (choice("auto", "other"), choice("auto"), choice("never", "get_page"), {"type": "allowed_tools"}):
            answer = self.server.post("/v1/chat/completions", {**CHAT, "tools": both, "tool_choice": bad})
            self.assertTrue(self.error_of(answer, 400)["param"].startswith("tool_choice"))

    def test_unknown_name(self):
        answer = self.server.post("/v1/chat/completions", {**CHAT, "tools": TOOLS, "tool_choice": {
            "type": "function", "function": {"name": "other"}}})
        self.assertEqual(self.error_of(answer, 400)["param"], "tool_choice")

    def test_history_of_calls(self):
        call = {"id": "call_0123456789", "type": "function", "function": {"name": "get_page", "arguments": "{\"n\": 3}"}}
        messages = CHAT["messages"] + [{"role": "assistant", "content": None, "tool_calls": [call]},
                                       {"role": "tool", "tool_call_id": call["id"], "content": "text"},
                                       {"role": "user", "content": "And?"}]
        self.assertTrue(self.chat(messages=messages).json()["choices"][0]["message"]["content"])

    def test_anthropic(self):
        fields = {**CHAT, "tools": [{"name": "get_page", "input_schema": {"type": "object"}}],
                  "tool_choice": {"type": "tool", "name": "get_page"}}
        block = self.server.post("/v1/messages", fields).json()["content"][0]
        self.assertEqual((block["type"], block["name"]), ("tool_use", "get_page"))
        self.assertIsInstance(block["input"], dict)
        events = self.server.post("/v1/messages", {**fields, "stream": True}).events()
        start = [e for e in events if e["type"] == "content_block_start"][0]
        self.assertEqual(start["content_block"]["name"], "get_page")
        self.assertTrue([e for e in events if e["type"] == "content_block_delta" and e["delta"]["type"] == "input_json_delta"])


if __name__ == "__main__":
    unittest.main()
