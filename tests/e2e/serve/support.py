# SPDX-License-Identifier: Apache-2.0
"""Starts `mixtral serve` on a free loopback port and talks to it over plain sockets, so that tests can send what no HTTP
library would. Used by the serve_*_test.py files; SERVE_BINARY and SERVE_MODEL say what to start."""
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import weakref

BINARY = os.environ["SERVE_BINARY"]
MODEL = os.environ["SERVE_MODEL"]
PATIENCE = 120  # seconds: a deadline against hangs, not a measure


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The data of an event stream; "[DONE]" stays text, comments are left out."""
        found = []
        for block in self.body.decode().split("\n\n"):
            data = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
            if data:
                found.append(data[0] if data[0] == "[DONE]" else json.loads(data[0]))
        return found


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.buffer = b""
        weakref.finalize(self, self.socket.close)  # at the latest when nobody knows it any more

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, path, body=None, headers=(), version="1.1"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/{version}", "Host: x"]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def read_more(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return data != b""

    def take(self, n):
        while len(self.buffer) < n:
            if not self.read_more():
                raise EOFError(f"wanted {n} bytes, found {self.buffer!r}")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def take_until(self, mark):
        while mark not in self.buffer:
            if not self.read_more():
                raise EOFError(f"wanted {mark!r}, found {self.buffer!r}")
        return self.take(self.buffer.index(mark) + len(mark))

    def head(self):
        lines = self.take_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            if name:
                headers[name.lower()] = value
        return int(lines[0].split(" ")[1]), headers

    def chunk(self):
        """One chunk of a body; b"" is the last."""
        size = int(self.take_until(b"\r\n"), 16)
        return self.take(size + 2)[:-2]

    def rest(self):
        while self.read_more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def answer(self):
        status, headers = self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while part := self.chunk():
                body += part
        elif "content-length" in headers:
            body = self.take(int(headers["content-length"]))
        else:
            body = b"" if status == 204 else self.rest()
        return Answer(status, headers, body)

    def is_closed(self):
        """Waits for the server to close; False when bytes come or nothing happens."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


class Server:
    def __init__(self, *flags, model=MODEL, ready=True):
        self.log = tempfile.TemporaryFile()
        self.logged = None  # all of the log, when the server has ended
        port = [] if "--port" in flags else ["--port", "0"]
        self.process = subprocess.Popen([BINARY, "serve", model, *port, "-t", "2", *flags],
                                        stdout=subprocess.PIPE, stderr=self.log,
                                        env={k: v for k, v in os.environ.items() if not k.startswith("MIXTRAL_")})
        atexit.register(self.process.kill)  # a test that failed half-way
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise TimeoutError("the server did not start")
        line = self.process.stdout.readline().decode()
        if not line:
            self.stop()
            raise RuntimeError(self.stderr())
        self.url = line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        if ready:
            self.wait_for(lambda: self.get("/health").status == 200)

    def connect(self):
        return Connection(self.port)

    def ask(self, method, path, body=None, headers=(), version="1.1"):
        connection = self.connect()
        try:
            connection.request(method, path, body, headers, version)
            return connection.answer()
        finally:
            connection.close()

    def get(self, path, headers=()):
        return self.ask("GET", path, None, headers)

    def post(self, path, body, headers=()):
        return self.ask("POST", path, body, headers)

    def metric(self, name):
        """The sum over all labels."""
        lines = self.get("/metrics").body.decode().split("\n")
        return sum(float(line.split()[-1]) for line in lines
                   if line.startswith((name + " ", name + "{")))

    @staticmethod
    def wait_for(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("the condition did not come true")
            time.sleep(0.02)

    def stderr(self):
        if self.logged is not None:
            return self.logged
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def stop(self, number=signal.SIGTERM):
        """-> exit code; -n when signal n ended it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self):
        try:
            return self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.logged is None:
                self.logged = self.stderr()
                self.log.close()
                self.process.stdout.close()


class ServerCase(unittest.TestCase):
    """One server for all tests of a class; it must end well."""
    flags = ()
    model = MODEL

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.flags, model=cls.model)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        log = cls.server.stderr()
        if code != 0:
            raise AssertionError(f"the server ended with {code}: {log[-4000:]}")

    def error_of(self, answer, status):
        self.assertEqual(answer.status, status, answer.body)
        error = answer.json()["error"]
        for field in ("message", "type", "param", "code"):
            self.assertIn(field, error)
        return error
