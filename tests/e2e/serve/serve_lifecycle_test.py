# SPDX-License-Identifier: Apache-2.0
"""From the first byte on the socket to the last signal."""
import signal
import tempfile
import threading
import unittest

from support import Server

LONG = {"prompt": "The", "max_tokens": 500, "ignore_eos": True, "stream": True}


class Lifecycle(unittest.TestCase):
    def test_loopback_by_default(self):
        server = Server()
        self.assertTrue(server.url.startswith("http://127.0.0.1:"), server.url)
        self.assertEqual(server.stop(), 0)

    def test_a_model_that_cannot_be_opened_ends_the_server(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(b"GGUF nonsense")
            file.flush()
            server = Server(model=file.name, ready=False)
            self.assertEqual(server.ended(), 2)
            self.assertIn("mixtral: ", server.stderr())

    def test_sigterm_lets_streams_end(self):
        server = Server()
        idle = server.connect()
        idle.request("GET", "/health")
        idle.answer()
        stream = server.connect()
        stream.request("POST", "/v1/completions", LONG)
        self.assertEqual(stream.head()[0], 200)
        stream.chunk()
        server.process.send_signal(signal.SIGTERM)
        self.assertTrue(idle.is_closed())
        with self.assertRaises(OSError):
            server.connect()
        last = b""
        while part := stream.chunk():
            last = part
        self.assertTrue(last.endswith(b"data: [DONE]\n\n"))
        self.assertEqual(server.ended(), 0)

    def test_drain_has_a_limit(self):
        server = Server("--drain", "0")
        stream = server.connect()
        stream.request("POST", "/v1/completions", {**LONG, "n": 32})
        stream.head()
        stream.chunk()
        self.assertEqual(server.stop(), 0)
        self.assertNotIn(b"[DONE]", stream.rest())

    def test_requests_while_draining_get_503(self):
        server = Server("--max-running", "16")
        stream, other, idle = server.connect(), server.connect(), server.connect()
        stream.request("POST", "/v1/completions", {**LONG, "n": 16})
        stream.head()
        other.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"prompt\":")
        server.wait_for(lambda: server.get("/load").json()["running"] > 0)
        server.process.send_signal(signal.SIGTERM)
        self.assertTrue(idle.is_closed())  # the signal has arrived
        other.send(b" \"x\"}")
        answer = other.answer()
        self.assertEqual(answer.status, 503)
        self.assertIn("retry-after", answer.headers)
        self.assertEqual(answer.headers["connection"], "close")
        stream.close()
        self.assertEqual(server.ended(), 0)

    def test_second_signal_ends_at_once(self):
        server = Server()
        stream = server.connect()
        stream.request("POST", "/v1/completions", {**LONG, "n": 32})
        stream.head()
        idle = server.connect()
        server.process.send_signal(signal.SIGINT)
        self.assertTrue(idle.is_closed())  # the first one has arrived
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.ended(), 130)

    def test_ctrl_c_drains_and_says_so(self):
        server = Server()
        self.assertEqual(server.stop(signal.SIGINT), 130)

    def test_kill_and_restart(self):
        first = Server()
        first.stop(signal.SIGKILL)
        second = Server("--port", str(first.port))
        self.assertEqual(second.get("/health").status, 200)
        self.assertEqual(second.stop(), 0)

    def test_many_clients_at_once(self):
        """Every one gets the tokens that it would get alone."""
        server = Server("--max-running", "8")
        bodies = [{"prompt": f"Page {i}", "max_tokens": 12, "seed": i, "ignore_eos": True} for i in range(16)]
        alone = [server.post("/v1/completions", body).json()["choices"][0]["text"] for body in bodies]
        together = [None] * len(bodies)

        def ask(i):
            together[i] = server.post("/v1/completions", bodies[i]).json()["choices"][0]["text"]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
