# SPDX-License-Identifier: Apache-2.0
"""Every endpoint, whole answers: shapes, fields that must have an effect, refusals."""
import base64
import math
import os
import re
import struct
import unittest

from support import ServerCase

CHAT = {"messages": [{"role": "user", "content": "How do I print?"}], "max_tokens": 8, "temperature": 0,
        "ignore_eos": True}
TEXT = {"prompt": "The file", "max_tokens": 8, "temperature": 0, "ignore_eos": True}


class Chat(ServerCase):
    def chat(self, **fields):
        answer = self.server.post("/v1/chat/completions", {**CHAT, **fields})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def test_shape(self):
        answer = self.chat()
        self.assertTrue(answer["id"].startswith("chatcmpl-"))
        self.assertEqual(answer["object"], "chat.completion")
        choice = answer["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"], choice["logprobs"]), (0, "length", None))
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertTrue(choice["message"]["content"])
        usage = answer["usage"]
        self.assertEqual(usage["completion_tokens"], 8)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 8)
        self.assertIn("cached_tokens", usage["prompt_tokens_details"])

    def test_paths_without_version(self):
        text = self.chat()["choices"][0]["message"]["content"]
        other = self.server.post("/chat/completions", CHAT).json()
        self.assertEqual(other["choices"][0]["message"]["content"], text)

    def test_seed_and_n(self):
        fields = {"temperature": 1.5, "seed": 5, "n": 3}
        texts = [c["message"]["content"] for c in self.chat(**fields)["choices"]]
        self.assertEqual(texts, [c["message"]["content"] for c in self.chat(**fields)["choices"]])
        self.assertEqual(len(set(texts)), 3)
        one = self.chat(temperature=1.5, seed=6)["choices"][0]["message"]["content"]
        self.assertEqual(one, texts[1])  # choice i has seed + i

    def test_stop(self):
        whole = self.chat(max_tokens=24)["choices"][0]["message"]["content"]
        stop = whole[len(whole) // 2:len(whole) // 2 + 3]
        choice = self.chat(max_tokens=24, stop=[stop])["choices"][0]
        self.assertEqual(choice["finish_reason"], "stop")
        self.assertEqual(choice["message"]["content"], whole[:whole.index(stop)])
        choice = self.chat(max_tokens=24, stop=stop, include_stop_str_in_output=True)["choices"][0]
        self.assertEqual(choice["message"]["content"], whole[:whole.index(stop) + len(stop)])

    def test_logprobs(self):
        answer = self.chat(logprobs=True, top_logprobs=3)
        content = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 8)
        for token in content:
            self.assertEqual(len(token["top_logprobs"]), 3)
            self.assertEqual(token["top_logprobs"][0]["logprob"], token["logprob"])  # greedy
            self.assertLessEqual(token["logprob"], 0)
            self.assertEqual(bytes(token["bytes"]).decode(errors="replace"), token["token"])
        text = b"".join(bytes(token["bytes"]) for token in content).decode()
        self.assertEqual(text.strip(), answer["choices"][0]["message"]["content"].strip())

    def test_logit_bias(self):
        ids = self.server.post("/tokenize", {"content": "x"}).json()["tokens"]
        text = self.chat(logit_bias={str(ids[-1]): 100})["choices"][0]["message"]["content"]
        self.assertEqual(set(text.replace(" ", "")), {"x"})

    def test_context_too_long(self):
        long = [{"role": "user", "content": "word " * 2000}]
        error = self.error_of(self.server.post("/v1/chat/completions", {**CHAT, "messages": long}), 400)
        self.assertEqual((error["type"], error["code"]), ("exceed_context_size_error", "context_length_exceeded"))
        self.assertGreater(error["n_prompt_tokens"], error["n_ctx"])

    def test_refusals_name_the_field(self):
        for fields, param in (
                ({"messages": None}, "messages"), ({"messages": []}, "messages"),
                ({"messages": [{"role": "emperor", "content": "x"}]}, "messages[0].role"),
                ({"messages": [{"content": "x"}]}, "messages[0].role"), ({"temperature": -1}, "temperature"),
                ({"max_tokens": -1}, "max_tokens"), ({"max_completion_tokens": "9"}, "max_completion_tokens"),
                ({"n": 0}, "n"), ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
                ({"top_logprobs": 2}, "top_logprobs"), ({"stream_options": {}}, "stream_options"),
                ({"response_format": {"type": "json_object"}}, "response_format"),
                ({"grammar": "root ::= \"a\""}, "grammar"), ({"tools": "x"}, "tools"),
                ({"functions": []}, "functions")):
            with self.subTest(param=param):
                error = self.error_of(self.server.post("/v1/chat/completions", {**CHAT, **fields}), 400)
                self.assertEqual(error["param"], param, error)
                self.assertEqual(error["type"], "invalid_request_error")

    def test_roles_in_any_order(self):
        for roles in (["system", "user"], ["user", "system", "user"], ["assistant", "user"],
                      ["user", "user", "assistant", "assistant", "user"], ["developer", "user", "tool"], ["system"]):
            messages = [{"role": role, "content": "x", "tool_call_id": "call_1"} for role in roles]
            answer = self.server.post("/v1/chat/completions", {**CHAT, "messages": messages})
            self.assertEqual(answer.status, 200, (roles, answer.body))

    def test_unknown_fields_are_ignored(self):
        self.chat(user="me", store=True, metadata={"a": "b"}, service_tier="auto", reasoning_effort="low", nonsense=[1])

    def test_model_name(self):
        error = self.error_of(self.server.post("/v1/chat/completions", {**CHAT, "model": "gpt-4"}), 404)
        self.assertEqual(error["code"], "model_not_found")
        name = self.server.get("/v1/models").json()["data"][0]["id"]
        self.assertEqual(self.chat(model=name)["model"], name)

    def test_routing(self):
        answer = self.chat(routing={"return": True, "encoding": "arrays"})
        routing = answer["choices"][0]["routing"]
        self.assertEqual((routing["n_layers"], routing["experts_per_token"]), (4, 2))
        self.assertEqual(routing["n_tokens"], len(routing["experts"]))
        self.assertEqual(answer["prompt_routing"]["first_position"], 0)
        for token, weights in zip(routing["experts"], routing["weights"]):
            self.assertEqual((len(token), len(token[0])), (4, 2))
            for pair, weight in zip(token, weights):
                self.assertEqual(len(set(pair)), 2)
                self.assertTrue(all(0 <= e < 8 for e in pair))
                self.assertAlmostEqual(sum(weight), 1, places=5)
        packed = self.chat(routing={"return": True})["choices"][0]["routing"]
        experts = [e for token in routing["experts"] for layer in token for e in layer]
        weights = [w for token in routing["weights"] for layer in token for w in layer]
        self.assertEqual(list(base64.b64decode(packed["experts"])), experts)
        floats = struct.unpack(f"<{len(weights)}f", base64.b64decode(packed["weights"]))
        self.assertTrue(all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(floats, weights)))

    def test_routing_policy(self):
        fields = {"return": True, "encoding": "arrays", "experts_per_token": 1, "force": [3]}
        routing = self.chat(routing=fields)["choices"][0]["routing"]
        self.assertEqual({e for token in routing["experts"] for layer in token for e in layer}, {3})
        routing = self.chat(routing={"return": True, "encoding": "arrays", "ban": [0, 1, 2]})["choices"][0]["routing"]
        self.assertTrue(all(e > 2 for token in routing["experts"] for layer in token for e in layer))
        error = self.error_of(self.server.post("/v1/chat/completions", {**CHAT, "routing": {"ban": list(range(8))}}), 400)
        self.assertIn("ban", error["message"])


class Others(ServerCase):
    flags = ("--alias", "tiny", "--alias", "other")

    def test_completions(self):
        answer = self.server.post("/v1/completions", TEXT).json()
        self.assertEqual(answer["object"], "text_completion")
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        ids = self.server.post("/tokenize", {"content": TEXT["prompt"], "add_special": True}).json()["tokens"]
        by_ids = self.server.post("/v1/completions", {**TEXT, "prompt": ids}).json()
        self.assertEqual(by_ids["choices"][0]["text"], answer["choices"][0]["text"])
        many = self.server.post("/v1/completions", {**TEXT, "prompt": ["The file", "Select"], "n": 2}).json()
        self.assertEqual([c["index"] for c in many["choices"]], [0, 1, 2, 3])
        self.assertEqual(many["choices"][0]["text"], answer["choices"][0]["text"])
        self.assertEqual(many["usage"]["completion_tokens"], 32)

    def test_echo_with_prompt_logprobs(self):
        fields = {**TEXT, "echo": True, "logprobs": 2, "max_tokens": 4}
        choice = self.server.post("/v1/completions", fields).json()["choices"][0]
        self.assertTrue(choice["text"].startswith("The file"))
        scores = choice["logprobs"]
        n = len(scores["tokens"])
        self.assertEqual({len(v) for v in scores.values()}, {n})
        self.assertIsNone(scores["token_logprobs"][0])
        self.assertTrue(all(p <= 0 for p in scores["token_logprobs"][1:]))
        alone = self.server.post("/v1/completions", {**fields, "max_tokens": 0}).json()["choices"][0]
        self.assertEqual(alone["text"].strip(), "The file")
        self.assertEqual(alone["finish_reason"], "length")
        self.assertEqual(alone["logprobs"]["token_logprobs"], scores["token_logprobs"][:n - 4])

    def test_completion_refusals(self):
        for fields, param in (({"prompt": []}, "prompt"), ({"prompt": [[]]}, "prompt"), ({"prompt": {}}, "prompt"),
                              ({"prompt": [99999]}, "prompt"), ({"prompt": None}, "prompt"),
                              ({"max_tokens": 0}, "max_tokens"), ({"suffix": "x"}, "suffix"), ({"best_of": 2}, "best_of"),
                              ({"logprobs": 21}, "logprobs"), ({"echo": 1}, "echo")):
            with self.subTest(fields=fields):
                answer = self.server.post("/v1/completions", {**TEXT, **fields})
                self.assertEqual(self.error_of(answer, 400)["param"], param, answer.body)

    def test_embeddings(self):
        answer = self.server.post("/v1/embeddings", {"input": ["The file", "Select"]}).json()
        vectors = [item["embedding"] for item in answer["data"]]
        self.assertEqual([len(v) for v in vectors], [256, 256])
        self.assertNotEqual(vectors[0], vectors[1])
        self.assertAlmostEqual(sum(x * x for x in vectors[0]), 1, places=4)
        packed = self.server.post("/v1/embeddings", {"input": "The file", "encoding_format": "base64"}).json()
        floats = struct.unpack("<256f", base64.b64decode(packed["data"][0]["embedding"]))
        self.assertTrue(all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) for a, b in zip(floats, vectors[0])))
        last = self.server.post("/v1/embeddings", {"input": "The file", "pooling": "last"}).json()
        self.assertNotEqual(last["data"][0]["embedding"], vectors[0])
        for fields, param in (({"input": ""}, None), ({"input": []}, "input"), ({}, "input"),
                              ({"input": "x", "encoding_format": "xml"}, "encoding_format"),
                              ({"input": "x", "dimensions": 10}, "dimensions")):
            answer = self.server.post("/v1/embeddings", fields)
            if param:
                self.assertEqual(self.error_of(answer, 400)["param"], param)
            else:
                self.assertEqual(answer.status, 200)  # BOS alone

    def test_tokenize(self):
        tokens = self.server.post("/tokenize", {"content": "Open the file"}).json()["tokens"]
        self.assertEqual(self.server.post("/detokenize", {"tokens": tokens}).json()["content"], "Open the file")
        vllm = self.server.post("/v1/tokenize", {"prompt": "Open the file"}).json()
        self.assertEqual(vllm["tokens"][1:], tokens)
        self.assertEqual((vllm["count"], vllm["max_model_len"]), (len(tokens) + 1, 512))
        pieces = self.server.post("/tokenize", {"content": "a\u20ac", "with_pieces": True}).json()["tokens"]
        found = b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces)
        self.assertEqual(found.decode().strip(), "a\u20ac")
        messages = CHAT["messages"]
        by_chat = self.server.post("/tokenize", {"messages": messages}).json()["tokens"]
        template = self.server.post("/apply-template", {"messages": messages}).json()
        self.assertEqual(template["tokens"], by_chat)
        self.assertIn("How do I print?", template["prompt"])
        self.error_of(self.server.post("/detokenize", {"tokens": [4096]}), 400)

    def test_models(self):
        models = self.server.get("/v1/models").json()
        self.assertEqual([m["id"] for m in models["data"]], ["tiny", "other"])
        self.assertEqual(models["data"][0]["meta"]["n_expert"], 8)
        self.assertEqual(self.server.get("/v1/models/tiny").json()["object"], "model")
        self.error_of(self.server.get("/v1/models/none"), 404)
        self.assertEqual(self.server.get("/props").json()["model_alias"], "tiny")
        self.assertEqual(self.server.get("/props").json()["n_ctx"], 512)
        self.assertIn("version", self.server.get("/version").json())
        self.assertEqual(self.server.get("/load").json()["waiting"], 0)

    def test_anthropic(self):
        fields = {"model": "tiny", "max_tokens": 8, "temperature": 0, "ignore_eos": True, "system": "Be brief.",
                  "messages": [{"role": "user", "content": [{"type": "text", "text": "How do I print?"}]}]}
        answer = self.server.post("/v1/messages", fields).json()
        self.assertEqual((answer["type"], answer["role"], answer["stop_reason"]), ("message", "assistant", "max_tokens"))
        self.assertEqual(answer["usage"]["output_tokens"], 8)
        same = self.server.post("/v1/chat/completions", {**CHAT, "messages": [
            {"role": "system", "content": "Be brief."}, *CHAT["messages"]]}).json()
        self.assertEqual(answer["content"][0]["text"], same["choices"][0]["message"]["content"])
        count = self.server.post("/v1/messages/count_tokens", fields).json()
        self.assertEqual(count["input_tokens"], answer["usage"]["input_tokens"])
        error = self.server.post("/v1/messages", {**fields, "max_tokens": None})
        self.assertEqual(error.status, 400)
        self.assertEqual((error.json()["type"], error.json()["error"]["type"]), ("error", "invalid_request_error"))

    def test_routing_stats(self):
        self.server.post("/v1/completions", {**TEXT, "max_tokens": 32})
        stats = self.server.get("/v1/routing/stats").json()
        self.assertEqual((stats["n_layers"], stats["n_experts"], len(stats["layers"])), (4, 8, 4))
        for layer in stats["layers"]:
            self.assertGreaterEqual(sum(layer["tokens"]), 64)
            self.assertTrue(0 < layer["entropy_bits"] <= stats["uniform_entropy_bits"])
            self.assertTrue(0 <= layer["first_choice_repetition"] <= layer["either_choice_repetition"] <= 1)

    def test_metrics(self):
        before = self.server.metric("mixtral_generation_tokens_total")
        self.server.post("/v1/completions", {**TEXT, "max_tokens": 12})
        self.assertEqual(self.server.metric("mixtral_generation_tokens_total"), before + 12)
        text = self.server.get("/metrics")
        self.assertTrue(text.headers["content-type"].startswith("text/plain; version=0.0.4"))
        self.assertNotIn(b"mixtral_expert_tokens_total", text.body)
        for name in (b"mixtral_time_to_first_token_seconds_bucket", b"mixtral_build_info", b"mixtral_http_requests_total"):
            self.assertIn(name, text.body)
        # A step has all rows of its prompts and one of each stream, so the rows are the tokens computed.
        self.assertGreaterEqual(self.server.metric("mixtral_iteration_tokens_sum"),
                                self.server.metric("mixtral_iteration_tokens_count"))
        self.assertGreaterEqual(self.server.metric("mixtral_iteration_tokens_count"), 12)
        self.assertEqual(self.server.metric("mixtral_step_seconds_count"), self.server.metric("mixtral_iteration_tokens_count"))
        self.assertGreater(self.server.metric("mixtral_step_seconds_sum"), 0)
        self.assertIn(b'mixtral_iteration_tokens_bucket{le="+Inf"}', text.body)

    def test_every_metric_of_the_manual_and_no_other(self):
        self.server.post("/v1/completions", {**TEXT, "max_tokens": 12})
        self.server.wait_for(lambda: self.server.metric("mixtral_http_request_duration_seconds_count") > 0)
        found = set(re.findall(r"^# TYPE (\S+)", self.server.get("/metrics").body.decode(), re.M))
        with open(os.path.join(os.path.dirname(__file__), "../../../docs/serving.md"), encoding="utf-8") as manual:
            named = set(re.findall(r"`(mixtral_[a-z0-9_]+)[`{]", manual.read()))
        only_on_demand = {name for name in named if name.startswith("mixtral_expert_")} | {"mixtral_requests_rejected_total"}
        self.assertEqual(found - {"mixtral_requests_rejected_total"}, named - only_on_demand)


class ExpertMetrics(ServerCase):
    flags = ("--expert-metrics",)

    def test_a_series_for_each_expert(self):
        self.server.post("/v1/completions", TEXT)
        text = self.server.get("/metrics").body.decode()
        self.assertEqual(text.count("mixtral_expert_tokens_total{"), 32)
        for name, least, most in (("entropy_bits", 0.01, 3), ("max_share", 0.125, 1), ("first_choice_repetition", 0, 1),
                                  ("either_choice_repetition", 0, 1)):
            values = [float(v) for v in re.findall(rf"mixtral_expert_{name}{{layer=\"\d\"}} (\S+)", text)]
            self.assertEqual(len(values), 4)
            self.assertTrue(all(least <= value <= most for value in values), values)
        self.assertGreater(self.server.metric("mixtral_expert_tokens_total"), 0)


if __name__ == "__main__":
    unittest.main()
