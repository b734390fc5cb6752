# SPDX-License-Identifier: Apache-2.0
"""`serve --routing FILE`: a trace of every request, whole when the server has ended."""
import json
import os
import subprocess
import tempfile
import unittest

from support import BINARY, Server


def report_of(trace):
    done = subprocess.run([BINARY, "routing", trace, "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)


class Recording(unittest.TestCase):
    def test_every_request_is_in_the_trace(self):
        with tempfile.TemporaryDirectory() as folder:
            trace = os.path.join(folder, "served.mxroute")
            server = Server("--routing", trace)
            body = {"prompt": "The document", "max_tokens": 5, "ignore_eos": True, "seed": 1}
            plain = server.post("/v1/completions", body).json()
            twice = server.post("/v1/completions", {**body, "n": 2}).json()
            self.assertNotIn("routing", json.dumps(plain))
            self.assertEqual(twice["choices"][0]["text"], plain["choices"][0]["text"])
            self.assertFalse(os.path.exists(trace))
            self.assertEqual(server.stop(), 0)
            n_prompt = plain["usage"]["prompt_tokens"]
            # The last token of a choice is never computed; a second choice shares the prompt.
            report = report_of(trace)
            self.assertEqual(report["tokens"], 2 * (n_prompt + 4) + 4)
            self.assertEqual(report["domains"][0]["name"], "served")
            self.assertEqual(report["domains"][0]["sequences"], 3)
            self.assertIn("routing of", server.stderr())

    def test_a_place_that_cannot_be_written_ends_the_server(self):
        server = Server("--routing", "/nowhere/trace", ready=False)
        self.assertEqual(server.ended(), 2)
        self.assertIn("/nowhere/trace", server.stderr())


if __name__ == "__main__":
    unittest.main()
