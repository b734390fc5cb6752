# SPDX-License-Identifier: Apache-2.0
"""Answers in events: their order, what they add up to, and that a client's leaving ends the work in every phase."""
import unittest

from support import ServerCase

CHAT = {"messages": [{"role": "user", "content": "How do I print?"}], "max_tokens": 12, "temperature": 0,
        "ignore_eos": True}


class Events(ServerCase):
    def stream(self, path="/v1/chat/completions", **fields):
        answer = self.server.post(path, {**CHAT, "stream": True, **fields})
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-cache")
        self.assertEqual(answer.headers["x-accel-buffering"], "no")
        return answer.events()

    def test_chat_adds_up_to_the_whole_answer(self):
        events = self.stream()
        self.assertEqual(events[-1], "[DONE]")
        chunks = events[:-1]
        self.assertEqual(len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}), 1)
        self.assertEqual(chunks[0]["object"], "chat.completion.chunk")
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual(chunks[-1]["choices"][0]["delta"], {})
        self.assertEqual([c["choices"][0]["finish_reason"] for c in chunks[:-1]], [None] * (len(chunks) - 1))
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "length")
        self.assertTrue(all("usage" not in c for c in chunks))
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        whole = self.server.post("/v1/chat/completions", CHAT).json()
        self.assertEqual(text, whole["choices"][0]["message"]["content"])

    def test_usage_comes_in_a_chunk_of_its_own(self):
        chunks = self.stream(stream_options={"include_usage": True})[:-1]
        self.assertTrue(all(c["usage"] is None for c in chunks[:-1]))
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 12)

    def test_n_choices(self):
        chunks = self.stream(n=3, temperature=1.5, seed=4)[:-1]
        whole = self.server.post("/v1/chat/completions", {**CHAT, "n": 3, "temperature": 1.5, "seed": 4}).json()
        for i in range(3):
            text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"][0]["index"] == i)
            self.assertEqual(text, whole["choices"][i]["message"]["content"])

    def test_logprobs_and_routing(self):
        fields = {"logprobs": True, "top_logprobs": 1, "routing": {"return": True, "encoding": "arrays"}}
        chunks = self.stream(**fields)[:-1]
        tokens = [t for c in chunks for choice in c["choices"] if choice["logprobs"] for t in choice["logprobs"]["content"]]
        routed = [t for c in chunks for choice in c["choices"] if "routing" in choice for t in choice["routing"]["experts"]]
        whole = self.server.post("/v1/chat/completions", {**CHAT, **fields}).json()["choices"][0]
        self.assertEqual(tokens, whole["logprobs"]["content"])
        self.assertEqual(routed, whole["routing"]["experts"])

    def test_completions(self):
        fields = {"prompt": ["The file", "Select"], "echo": True, "logprobs": 0}
        chunks = self.stream("/v1/completions", **fields, messages=None)[:-1]
        whole = self.server.post("/v1/completions", {**CHAT, **fields}).json()
        for i in range(2):
            mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == i]
            self.assertEqual("".join(c["text"] for c in mine), whole["choices"][i]["text"])
            for key in ("tokens", "token_logprobs", "text_offset"):
                self.assertEqual([x for c in mine for x in c["logprobs"][key]], whole["choices"][i]["logprobs"][key])

    def test_stop_string_is_never_shown(self):
        whole = self.server.post("/v1/chat/completions", {**CHAT, "max_tokens": 40}).json()["choices"][0]["message"]["content"]
        stop = whole[len(whole) // 2:len(whole) // 2 + 4]
        chunks = self.stream(max_tokens=40, stop=stop)[:-1]
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        self.assertEqual(text, whole[:whole.index(stop)])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")

    def test_anthropic(self):
        events = self.stream("/v1/messages")
        types = [e["type"] for e in events]
        self.assertEqual(types[:2], ["message_start", "content_block_start"])
        self.assertEqual(types[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(set(types[2:-3]), {"content_block_delta"})
        text = "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")
        whole = self.server.post("/v1/messages", CHAT).json()
        self.assertEqual(text, whole["content"][0]["text"])
        self.assertEqual(events[-2]["delta"]["stop_reason"], "max_tokens")

    def test_http_1_0_gets_no_chunks(self):
        answer = self.server.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True}, version="1.0")
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.events()[-1], "[DONE]")

    def test_refused_before_the_stream(self):
        answer = self.server.post("/v1/chat/completions", {**CHAT, "stream": True, "temperature": 1000})
        self.assertEqual(self.error_of(answer, 400)["param"], "temperature")

    def test_connection_goes_on_after_a_stream(self):
        connection = self.server.connect()
        for _ in range(3):
            connection.request("POST", "/v1/chat/completions", {**CHAT, "stream": True})
            self.assertEqual(connection.answer().events()[-1], "[DONE]")
        connection.close()


class Leaving(ServerCase):
    """A context of 512 positions lasts for seconds on no machine, so many requests fill the batch."""
    flags = ("--max-running", "2", "--sse-ping", "0.3")

    def long(self, stream):
        connection = self.server.connect()
        connection.request("POST", "/v1/completions", {"prompt": "The", "max_tokens": 500, "ignore_eos": True,
                                                       "n": 2, "stream": stream})
        return connection

    def until_idle(self):
        self.server.wait_for(lambda: self.server.get("/load").json()["server_load"] == 0)

    def test_while_waiting_computing_and_streaming(self):
        before = self.server.metric("mixtral_requests_cancelled_total")
        clients = [self.long(i % 2 == 0) for i in range(24)]  # two sequences run, the others wait
        clients[0].head()
        for client in clients[1:]:
            client.close()
        clients[0].close()
        self.until_idle()
        self.assertGreater(self.server.metric("mixtral_requests_cancelled_total"), before)
        self.assertEqual(self.server.get("/load").json()["cache_used"], 0)
        self.assertEqual(self.server.post("/v1/completions", {"prompt": "The", "max_tokens": 2}).status, 200)

    def test_silent_streams_are_kept_alive(self):
        clients = [self.long(True) for _ in range(8)]
        last = clients[-1]
        last.head()
        last.take_until(b": ping\n\n")
        for client in clients:
            client.close()
        self.until_idle()


if __name__ == "__main__":
    unittest.main()
