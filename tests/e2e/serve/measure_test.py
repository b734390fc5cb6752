# SPDX-License-Identifier: Apache-2.0
"""`mixtral perplexity` and `compare` on the model that ships: against numbers computed from `mixtral logits`, against the
same through `mixtral serve`, and against a server that misbehaves."""
import array
import http.server
import json
import math
import os
import struct
import subprocess
import tempfile
import threading
import unittest

from support import BINARY, MODEL, Server

TEXT = "The document has been saved. Click the button to open the dialog, and choose a file. " * 4
PATIENCE = 120  # seconds: a deadline against hangs, not a measure


def run(*arguments, environment=()):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "MIXTRAL_NO_CONFIG": "1", **dict(environment)})


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = array.array("f")
        values.frombytes(data[8 + size + begin:8 + size + end])
        tensors[name] = (entry["shape"], values)
    return tensors


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def json_of(self, *arguments):
        done = run(*arguments, "--json", "-q")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def refusal(self, code, text, *arguments, environment=()):
        done = run(*arguments, environment=environment)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.strip().split("\n")), 1, done.stderr)
        self.assertIn(text, done.stderr)
        return done.stderr


def log_softmax(row):
    best = max(row)
    log_sum = best + math.log(sum(math.exp(x - best) for x in row))
    return [x - log_sum for x in row]


class Perplexity(Files):
    def logprobs(self, text, model=MODEL):
        """Of every token after BOS, from `mixtral logits` and this file's own arithmetic."""
        ids = json.loads(run("tokenize", model, "--batch", self.write("t.json", json.dumps([text]))).stdout)[0]
        ids = [1] + ids
        self.write("ids.json", json.dumps([ids]))
        done = run("logits", model, "--tokens", self.path("ids.json"), "-o", self.path("l.safetensors"), "-q")
        self.assertEqual(done.returncode, 0, done.stderr)
        (n, vocab), values = read_safetensors(self.path("l.safetensors"))["0.logits"]
        rows = [log_softmax(values[i * vocab:(i + 1) * vocab]) for i in range(n)]
        return [rows[i][ids[i + 1]] for i in range(n - 1)], rows

    def test_is_the_exponential_of_the_mean_loss(self):
        logprobs, _ = self.logprobs(TEXT)
        report = self.json_of("perplexity", MODEL, "-f", self.write("a.txt", TEXT))
        n = len(logprobs)
        mean = -sum(logprobs) / n
        self.assertEqual(report["all"]["tokens"], n)
        self.assertAlmostEqual(report["all"]["perplexity"], math.exp(mean), delta=1e-4 * math.exp(mean))
        variance = sum((-x - mean) ** 2 for x in logprobs) / n
        error = math.exp(mean) * math.sqrt(variance / (n - 1))
        self.assertAlmostEqual(report["all"]["perplexity_stderr"], error, delta=1e-3 * error)
        bits = -sum(logprobs) / math.log(2) / len(TEXT.encode())
        self.assertAlmostEqual(report["all"]["bits_per_byte"], bits, delta=1e-4 * bits)

    def test_llama_cpp_chunks_score_the_second_half_of_each(self):
        logprobs, _ = self.logprobs(TEXT)
        report = self.json_of("perplexity", MODEL, "-f", self.write("a.txt", TEXT), "--ctx", "32", "--chunks",
                              "llama.cpp", "--limit", "1")
        scored = logprobs[16:31]  # tokens 17 to 31 of the chunk
        self.assertEqual(report["all"]["tokens"], 15)
        perplexity = math.exp(-sum(scored) / 15)
        self.assertAlmostEqual(report["all"]["perplexity"], perplexity, delta=1e-4 * perplexity)

    def test_a_stride_gives_more_context_and_every_token_once(self):
        path = self.write("a.txt", TEXT)
        whole = self.json_of("perplexity", MODEL, "-f", path)["all"]
        short = self.json_of("perplexity", MODEL, "-f", path, "--ctx", "16")["all"]
        strided = self.json_of("perplexity", MODEL, "-f", path, "--ctx", "16", "--stride", "4")["all"]
        self.assertEqual({whole["tokens"], short["tokens"], strided["tokens"]}, {whole["tokens"]})
        self.assertLess(strided["perplexity"], short["perplexity"])
        self.assertLess(whole["perplexity"], short["perplexity"])

    def test_files_and_lines_and_lengths(self):
        rows = [json.dumps({"text": TEXT}), json.dumps({"text": "Short."})]
        lines = self.write("b.jsonl", "\n".join(rows))
        report = self.json_of("perplexity", MODEL, "-f", self.write("a.txt", TEXT), "-f", lines)
        self.assertEqual([row["texts"] for row in report["files"]], [1, 2])
        self.assertEqual(report["all"]["tokens"], sum(row["tokens"] for row in report["files"]))
        report = self.json_of("perplexity", MODEL, "-f", lines, "--by-length", "--ctx", "32", "--svg",
                              self.path("c.svg"))
        self.assertEqual(len(report["by_length"]), 16)
        self.assertEqual(report["by_length"][0]["tokens"], report["by_length"][15]["tokens"])
        self.assertEqual(report["by_length"][15]["to"], 32)
        self.assertAlmostEqual(report["by_length"][15]["perplexity_up_to"], report["all"]["perplexity"], places=6)
        with open(self.path("c.svg"), encoding="utf-8") as file:
            self.assertIn("<svg", file.read())

    def test_what_cannot_be_is_one_line(self):
        path = self.write("a.txt", TEXT)
        self.refusal(1, "expected MODEL or --endpoint URL, found neither", "perplexity", "-f", path)
        self.refusal(1, "found both", "perplexity", MODEL, "-f", path, "--endpoint", "http://x/v1")
        self.refusal(1, "expected -f FILE", "perplexity", MODEL)
        self.refusal(1, "--stride", "perplexity", MODEL, "-f", path, "--ctx", "8", "--stride", "9")
        self.refusal(2, "at least one window of 512 tokens", "perplexity", MODEL, "-f", path, "--by-length",
                     "--ctx", "512", "-q")
        self.refusal(2, "nowhere.txt", "perplexity", MODEL, "-f", self.path("nowhere.txt"))
        self.refusal(2, "$.text", "perplexity", MODEL, "-f", self.write("bad.jsonl", "{}"))


class Compare(Files):
    logprobs = Perplexity.logprobs

    def test_a_model_is_itself(self):
        report = self.json_of("compare", MODEL, MODEL, "-f", self.write("a.txt", TEXT))
        self.assertEqual(report["predictions"]["kl"]["max"], 0)
        self.assertEqual(report["predictions"]["same_top"], 1)
        self.assertEqual(report["predictions"]["ratio"], 1)
        self.assertEqual(report["routing"]["all"]["same_set"], 1)
        self.assertEqual(report["routing"]["all"]["weight_drift"], 0)
        perplexity = self.json_of("perplexity", MODEL, "-f", self.path("a.txt"))["all"]["perplexity"]
        self.assertAlmostEqual(report["predictions"]["base"]["perplexity"], perplexity, places=9)

    def test_is_the_divergence_of_the_logits(self):
        other = os.path.join(os.environ.get("MIXTRAL_SHARED", "../shared"), "models/tiny-multilingual/hf-bf16")
        if not os.path.exists(other):
            self.skipTest("the bf16 model is not here")
        text = TEXT[:170]
        p_scores, p_rows = self.logprobs(text, other)
        q_scores, q_rows = self.logprobs(text)
        divergences = [sum(math.exp(p) * (p - q) for p, q in zip(a, b)) for a, b in zip(p_rows[:-1], q_rows[:-1])]
        report = self.json_of("compare", other, MODEL, "-f", self.write("a.txt", text))["predictions"]
        self.assertEqual(report["tokens"], len(p_scores))
        mean = sum(divergences) / len(divergences)
        self.assertAlmostEqual(report["kl"]["mean"], mean, delta=1e-3 * mean)
        self.assertAlmostEqual(report["kl"]["max"], max(divergences), delta=1e-3 * max(divergences))
        ratio = math.exp((sum(p_scores) - sum(q_scores)) / len(p_scores))
        self.assertAlmostEqual(report["ratio"], ratio, delta=1e-5)

    def test_what_cannot_be_is_one_line(self):
        path = self.write("a.txt", TEXT)
        self.refusal(2, "nowhere.gguf", "compare", MODEL, self.path("nowhere.gguf"), "-f", path)
        self.refusal(1, "OTHER", "compare", MODEL, "-f", path)
        self.refusal(2, "what both models have", "compare", MODEL, MODEL, "-f", path, "--ctx", "1000000")


class Endpoint(Files):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", "secret-key", "--alias", "tiny")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def url(self):
        return f"http://127.0.0.1:{self.server.port}/v1"

    def test_gives_the_numbers_of_the_checkpoint(self):
        lines = self.write("b.jsonl", "\n".join(json.dumps({"text": text}) for text in
                                                [TEXT, "Short.", " two  spaces", "\u00e9t\u00e9 \u65e5\u672c\u8a9e"]))
        here = self.json_of("perplexity", MODEL, "-f", lines)["all"]
        done = run("perplexity", "-f", lines, "--endpoint", self.url(), "--key-env", "KEY", "--json", "-q",
                   environment={"KEY": "secret-key"}.items())
        self.assertEqual(done.returncode, 0, done.stderr)
        there = json.loads(done.stdout)["all"]
        for key in ("tokens", "perplexity", "perplexity_stderr", "bits_per_byte"):
            self.assertEqual(here[key], there[key])

    def test_a_wrong_key_is_refused_and_not_shown(self):
        text = self.refusal(2, "status 401", "perplexity", "-f", self.write("a.txt", TEXT), "--endpoint", self.url(),
                            "--key-env", "KEY", environment={"KEY": "wrong-key"}.items())
        self.assertNotIn("wrong-key", text)
        self.refusal(1, "--key-env: expected a variable with a key", "perplexity", "-f", self.path("a.txt"),
                     "--endpoint", self.url(), "--key-env", "NOT_SET")


class Fake(http.server.BaseHTTPRequestHandler):
    """Answers with what its server's `script` says: (status, headers, body), the last one for ever."""
    def do_GET(self):
        self.answer(200, {}, json.dumps({"data": [{"id": "fake"}]}))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        script = self.server.script
        self.server.n_posts += 1
        self.answer(*(script.pop(0) if len(script) > 1 else script[0]))

    def answer(self, status, headers, body):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:  # a client that has seen enough
            pass

    def log_message(self, *_):
        pass


GOOD = json.dumps({"choices": [{"index": 0, "text": "A cat", "logprobs": {
    "tokens": ["A", " cat"], "token_logprobs": [None, -1.0], "text_offset": [0, 1]}}]})


class Misbehaving(Files):
    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
        self.server.n_posts = 0
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.text = self.write("a.txt", "A cat")
        self.flags = ["perplexity", "-f", self.text, "--endpoint", f"http://127.0.0.1:{self.server.server_port}"]

    def test_busy_servers_are_asked_again(self):
        self.server.script = [(429, {"Retry-After": "0"}, "busy"), (503, {"Retry-After": "0"}, "busy"), (200, {}, GOOD)]
        report = self.json_of(*self.flags)
        self.assertEqual(self.server.n_posts, 3)
        self.assertAlmostEqual(report["all"]["perplexity"], math.e, places=6)
        self.assertTrue(report["model"].endswith("/v1 fake"))

    def test_servers_that_stay_busy_are_given_up(self):
        self.server.script = [(500, {"Retry-After": "0"}, '{"error": {"message": "broken"}}')]
        self.refusal(2, "status 500: broken", *self.flags)
        self.assertEqual(self.server.n_posts, 6)

    def test_nonsense_is_one_line(self):
        for body, expected in (("<html>", "invalid JSON"), ("{}", "choices"), ('{"choices": []}', "expected 1 choice"),
                               ('{"choices": [{"text": "x"}]}', "found none: tasks that score texts"),
                               (GOOD.replace("-1.0", "NaN"), "v1"), (GOOD.replace("-1.0", "1e999"), "v1"),
                               (GOOD.replace("[0, 1]", "[0]"), "one length"), (b"\xff\xfe", "v1")):
            self.server.script = [(200, {}, body)]
            self.refusal(2, expected, *self.flags)

    def test_an_answer_without_end_is_cut(self):
        self.server.script = [(200, {}, b"[" + b" " * (70 << 20))]
        self.refusal(2, "found a larger one", *self.flags)

    def test_nobody_there(self):
        self.server.script = [(200, {}, GOOD)]
        self.refusal(2, "expected http://HOST:PORT/v1", "perplexity", "-f", self.text, "--endpoint", "ftp://x/v1")


if __name__ == "__main__":
    unittest.main()
