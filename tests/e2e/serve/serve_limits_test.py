# SPDX-License-Identifier: Apache-2.0
"""What the server refuses and survives: sizes, slow and broken clients, keys, origins, full queues, garbage."""
import json
import os
import random
import tempfile
import unittest

from support import Server, ServerCase

TEXT = {"prompt": "The file", "max_tokens": 4, "temperature": 0}
LONG = {"prompt": "The", "max_tokens": 500, "ignore_eos": True}


class Http(ServerCase):
    flags = ("--max-body-mib", "1", "--header-timeout", "0.5", "--body-timeout", "0.5", "--keep-alive", "1")

    def test_routes(self):
        self.error_of(self.server.get("/nowhere"), 404)
        self.error_of(self.server.get("/../etc/passwd"), 404)
        self.error_of(self.server.get("/%2e%2e/etc/passwd"), 404)
        self.error_of(self.server.get("/v1/chat/completions"), 405)
        self.error_of(self.server.ask("DELETE", "/health"), 405)

    def test_bodies(self):
        for body in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"{\"prompt\":\"\xff\"}", b"[" * 100000, b"{\"a\":" * 3000,
                     b"{\"prompt\": \"a\x00b\"}", b"{\"prompt\":\"x\",\"prompt\":\"y\"}", b"{\"max_tokens\": 1e999}",
                     b"{\"prompt\":\"\\ud800\"}"):
            self.error_of(self.server.ask("POST", "/v1/completions", body), 400)

    def test_content_type(self):
        connection = self.server.connect()
        connection.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
                        b"Content-Length: 2\r\n\r\n{}")
        self.error_of(connection.answer(), 415)
        connection.close()

    def test_large_body(self):
        self.error_of(self.server.ask("POST", "/v1/completions", b"x" * (1 << 20) + b"x"), 413)
        connection = self.server.connect()
        connection.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17)
        self.error_of(connection.answer(), 413)
        connection.close()

    def test_large_head(self):
        self.error_of(self.server.get("/" + "a" * 9000), 414)
        self.error_of(self.server.get("/health", [("X-Large", "a" * 20000)]), 431)
        self.error_of(self.server.get("/health", [(f"X-{i}", "a" * 100) for i in range(300)]), 431)

    def test_malformed_requests(self):
        for text in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /a b HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
                     b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                     b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                     b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
            connection = self.server.connect()
            connection.send(text)
            try:
                self.assertIn(connection.head()[0], (400, 404, 408, 413), text)
            except (EOFError, ConnectionResetError):
                pass  # closed without a word
            connection.close()
        self.assertEqual(self.server.get("/health").status, 200)

    def test_slow_head_and_body(self):
        connection = self.server.connect()
        connection.send(b"GET /health HTTP/1.1\r\nX-Slow: ")
        self.assertEqual(connection.head()[0], 408)
        connection.close()
        connection = self.server.connect()
        connection.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        self.assertEqual(connection.head()[0], 408)
        connection.close()

    def test_a_trickle_does_not_renew_the_deadline(self):
        connection = self.server.connect()
        connection.send(b"GET /health HTTP/1.1\r\n")
        connection.socket.settimeout(0.05)
        for _ in range(2400):
            try:
                connection.send(b"X: y\r\n")
                connection.read_more()
                break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return
        self.assertEqual(connection.head()[0], 408)

    def test_idle_connections_are_closed(self):
        connection = self.server.connect()
        self.assertTrue(connection.is_closed())
        connection = self.server.connect()
        connection.request("GET", "/health")
        connection.answer()
        self.assertTrue(connection.is_closed())

    def test_keep_alive_and_pipelining(self):
        connection = self.server.connect()
        connection.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual([connection.answer().status for _ in range(4)], [200, 200, 200, 404])
        connection.request("GET", "/health", headers=[("Connection", "close")])
        answer = connection.answer()
        self.assertEqual(answer.headers["connection"], "close")
        self.assertTrue(connection.is_closed())

    def test_expect_continue(self):
        body = json.dumps(TEXT).encode()
        connection = self.server.connect()
        connection.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        self.assertEqual(connection.head()[0], 100)
        connection.send(body)
        self.assertEqual(connection.answer().status, 200)
        connection.close()

    def test_request_ids(self):
        self.assertEqual(self.server.get("/health", [("X-Request-Id", "my-id.1")]).headers["x-request-id"], "my-id.1")
        for bad in ("a b", "a" * 200, "\u00e9", ""):
            self.assertTrue(self.server.get("/health", [("X-Request-Id", bad)]).headers["x-request-id"].startswith("req_"))

    def test_log_has_no_prompt_and_one_line_a_request(self):
        self.server.post("/v1/completions", {**TEXT, "prompt": "very secret words"}, [("X-Request-Id", "logged-1")])
        self.server.get("/x%0d%0a{\"status\":1}?key=hidden", [("X-Request-Id", "logged-2")])
        self.server.wait_for(lambda: "logged-2" in self.server.stderr())
        log = self.server.stderr()
        self.assertNotIn("secret", log)
        self.assertNotIn("hidden", log)
        lines = [json.loads(line) for line in log.split("\n") if line.startswith("{")]
        mine = [line for line in lines if line["request_id"] == "logged-1"][0]
        self.assertEqual((mine["status"], mine["path"], mine["completion_tokens"]), (200, "/v1/completions", 4))

    def test_garbage(self):
        """Requests with random bytes changed: any answer, or none, and the server lives."""
        rng = random.Random(7)
        whole = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 94\r\n\r\n"
                 b"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":1,\"stream\":true,\"stop\":[\"a\"],\"n\":1}  ")
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(data))
                kind = rng.randrange(3)
                if kind == 0:
                    data[at] = rng.randrange(256)
                elif kind == 1:
                    del data[at:at + rng.randint(1, 9)]
                else:
                    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
            connection = self.server.connect()
            connection.send(bytes(data))
            if rng.random() < 0.5:
                try:
                    connection.head()
                except (EOFError, ConnectionResetError, ValueError, IndexError):
                    pass
            connection.close()
        self.assertEqual(self.server.post("/v1/completions", TEXT).status, 200)


class Keys(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        path = os.path.join(cls.folder.name, "keys")
        with open(path, "w", encoding="ascii") as file:
            file.write("# two keys\nalpha\n\nbeta\n")
        cls.flags = ("--api-key-file", path, "--api-key", "gamma", "--cors-origin", "https://a.example",
                     "--cors-origin", "https://b.example")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def test_keys(self):
        for headers in ([], [("Authorization", "Bearer wrong")], [("X-Api-Key", "alph")], [("Authorization", "alpha")]):
            for method, path in (("POST", "/v1/completions"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/props")):
                error = self.error_of(self.server.ask(method, path, TEXT if method == "POST" else None, headers), 401)
                self.assertEqual(error["type"], "authentication_error")
        for key in ("alpha", "beta", "gamma"):
            self.assertEqual(self.server.post("/v1/completions", TEXT, [("Authorization", f"Bearer {key}")]).status, 200)
            self.assertEqual(self.server.get("/v1/models", [("X-Api-Key", key)]).status, 200)
        self.assertEqual(self.server.get("/health").status, 200)
        self.server.wait_for(lambda: "\"status\":401" in self.server.stderr())
        self.assertNotIn("gamma", self.server.stderr())

    def test_origins(self):
        for origin, allowed in (("https://a.example", True), ("https://b.example", True), ("https://c.example", False),
                                ("null", False)):
            asked = [("Origin", origin), ("Access-Control-Request-Headers", "authorization, x-stainless-os")]
            preflight = self.server.ask("OPTIONS", "/v1/chat/completions", None, asked)
            self.assertEqual(preflight.status, 204)
            found = preflight.headers.get("access-control-allow-origin")
            self.assertEqual(found, origin if allowed else None)
            if allowed:
                self.assertIn("x-stainless-os", preflight.headers["access-control-allow-headers"])
            answer = self.server.get("/health", [("Origin", origin)])
            self.assertEqual(answer.headers.get("access-control-allow-origin"), origin if allowed else None)


class FullQueue(ServerCase):
    flags = ("--max-running", "1", "--max-queued", "2")

    def test_429_with_retry_after(self):
        clients = []
        answers = []
        for _ in range(12):
            connection = self.server.connect()
            connection.request("POST", "/v1/completions", {**LONG, "stream": True})
            clients.append(connection)
        for connection in clients:
            answers.append(connection.head())
        statuses = [status for status, _ in answers]
        self.assertIn(429, statuses)
        self.assertIn(200, statuses)
        refused = answers[statuses.index(429)][1]
        self.assertGreaterEqual(int(refused["retry-after"]), 1)
        self.assertGreater(self.server.metric("mixtral_requests_rejected_total"), 0)
        for connection in clients:
            connection.close()
        self.server.wait_for(lambda: self.server.get("/load").json()["server_load"] == 0)
        self.assertEqual(self.server.post("/v1/completions", TEXT).status, 200)


class QueueTime(ServerCase):
    flags = ("--max-running", "1", "--queue-timeout", "0.05")

    def test_who_waits_too_long_gets_503(self):
        first = self.server.connect()
        first.request("POST", "/v1/completions", {**LONG, "stream": True})
        self.assertEqual(first.head()[0], 200)
        first.chunk()
        answer = self.server.post("/v1/completions", TEXT)
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json()["error"]["code"], "queue_timeout")
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        stream = self.server.connect()  # its 200 is sent before
        stream.request("POST", "/v1/completions", {**TEXT, "stream": True})
        self.assertEqual(stream.head()[0], 200)
        self.assertIn(b'"code":"queue_timeout"', stream.rest())
        text = self.server.get("/metrics").body.decode()
        self.assertIn('mixtral_requests_rejected_total{reason="queue_timeout"} 2', text)
        first.close()
        self.server.wait_for(lambda: self.server.get("/load").json()["server_load"] == 0)
        self.assertEqual(self.server.post("/v1/completions", TEXT).status, 200)


class SlowReaders(ServerCase):
    flags = ("--max-output-kib", "4", "--stall-timeout", "1")

    def test_a_reader_who_stops_is_cancelled(self):
        """An answer far larger than what the sockets and the server hold."""
        import socket
        connection = self.server.connect()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.request("POST", "/v1/completions", {
            **LONG, "n": 32, "stream": True, "logprobs": 20, "routing": {"return": True, "encoding": "arrays"}})
        self.server.wait_for(lambda: self.server.metric("mixtral_requests_cancelled_total") >= 1)
        self.server.wait_for(lambda: self.server.get("/load").json()["server_load"] == 0)
        connection.close()


class Connections(ServerCase):
    flags = ("--max-connections", "20")

    def test_more_get_503(self):
        clients = [self.server.connect() for _ in range(20)]
        clients[-1].request("GET", "/health")
        self.assertEqual(clients[-1].answer().status, 200)
        extra = self.server.connect()
        answer = extra.answer()
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json()["error"]["type"], "unavailable_error")
        self.assertEqual(answer.headers["retry-after"], "1")
        for client in clients:
            client.close()
        self.server.wait_for(lambda: self.server.get("/health").status == 200)


class Refusals(unittest.TestCase):
    def refusal(self, *flags):
        with self.assertRaises(RuntimeError) as caught:
            Server(*flags, ready=False)
        text = str(caught.exception)
        self.assertEqual(text.count("\n"), 1, text)
        return text

    def test_flags(self):
        self.assertIn("--port", self.refusal("--port", "65536"))
        self.assertIn("host", self.refusal("--host", "not-an-address"))
        self.assertIn("no-such-file", self.refusal("--api-key-file", "no-such-file"))
        self.assertIn("spaces", self.refusal("--api-key", "two words"))

    def test_port_in_use(self):
        first = Server()
        self.assertIn("in use", self.refusal("--port", str(first.port)))
        first.stop()


if __name__ == "__main__":
    unittest.main()
