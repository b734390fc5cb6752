#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands that README.md shows, so that they keep working.

Every block fenced with ```sh is one bash script (-euo pipefail), run in the repository root with build/release in front of
PATH. In a block that shows a session, only the lines after "$ " are commands. A block right after the comment
<!-- not run in CI: REASON --> is left out, and said so.

usage: check_readme.py [README] | --self-test
"""
import os
import re
import subprocess
import sys
import tempfile

SKIP = re.compile(r"<!-- not run in CI: (.+?) -->")
TIMEOUT_S = 900


def blocks(text):
    """-> [(line number, script, reason to skip or None)...] of the ```sh blocks."""
    found, reason, script, start = [], None, None, 0
    for number, line in enumerate(text.split("\n"), 1):
        if script is not None and line.startswith("```"):
            shown = [command[2:] for command in script if command.startswith("$ ")]
            found.append((start, "\n".join(shown or script) + "\n", reason))
            script = reason = None
        elif script is not None:
            script.append(line)
        elif line.strip() == "```sh":
            script, start = [], number
        elif line.strip():
            match = SKIP.search(line)
            reason = match.group(1) if match else None
    if script is not None:
        sys.exit(f"check_readme: the block that starts in line {start} never ends")
    return found


def run_block(script, root):
    environment = dict(os.environ, PATH=os.path.join(root, "build/release") + os.pathsep + os.environ["PATH"])
    try:
        result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=root, env=environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                errors="replace", timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"not finished after {TIMEOUT_S} s"
    return None if result.returncode == 0 else f"exit code {result.returncode}\n{result.stdout[-4000:]}"


def check(readme, root):
    """-> (how many blocks ran, [problems...])"""
    ran, problems = 0, []
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    for line, script, reason in blocks(text):
        if reason:
            print(f"README.md:{line}: not run, {reason}")
            continue
        ran += 1
        problem = run_block(script, root)
        if problem:
            problems.append(f"README.md:{line}: {script.strip()}\n{problem}")
    if ran == 0:
        problems.append("README.md: expected at least one block of commands, found none")
    return ran, problems


def self_test():
    cases = {  # text -> problems expected
        "```sh\ntrue\n```\n": 0,
        "```sh\ntrue\nfalse\ntrue\n```\n": 1,
        "```sh\nfalse | cat\n```\n": 1,
        "```sh\n$ true\nfalse is what it prints\n```\n": 0,
        "```sh\n$ true\n$ false\n```\n": 1,
        "<!-- not run in CI: needs 90 GB -->\n\n```sh\nfalse\n```\n```sh\ntrue\n```\n": 0,
        "<!-- not run in CI: needs 90 GB -->\ntext between\n```sh\nfalse\n```\n": 1,
        "```\nfalse\n```\n": 1,  # no commands at all
    }
    problems = []
    with tempfile.TemporaryDirectory() as root:
        readme = os.path.join(root, "README.md")
        for text, expected in cases.items():
            with open(readme, "w", encoding="utf-8") as file:
                file.write(text)
            found = len(check(readme, root)[1])
            if found != expected:
                problems.append(f"self-test: expected {expected} problems, found {found}, in {text!r}")
    return len(cases), problems


if __name__ == "__main__":
    ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ARGUMENT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "README.md")
    RAN, PROBLEMS = self_test() if ARGUMENT == "--self-test" else check(ARGUMENT, ROOT)
    for PROBLEM in PROBLEMS:
        print(PROBLEM)
    print(f"check_readme: {RAN} blocks, {len(PROBLEMS)} problems")
    sys.exit(1 if PROBLEMS else 0)
