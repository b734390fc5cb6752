#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs ctest in a build folder and says what matters: progress, failures whole, skipped tests with their reason, one
closing line.

usage: run_tests.py BUILD_FOLDER [ctest arguments...]
       run_tests.py --sum BUILD_FOLDER...      adds up the reports of earlier runs
"""
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

REPORT = "ctest.xml"


def progress(line, terminal):
    """Shows ctest's line for a finished test: in place on a terminal, otherwise only when it did not pass."""
    match = re.match(r"\s*(\d+)/(\d+) Test\s+#\d+: (\S+) \.*\s*(\S.*)", line)
    if not match:
        return
    done, total, name, outcome = match.groups()
    if "Failed" in outcome or "Exception" in outcome or "Timeout" in outcome or "Not Run" in outcome:
        print(f"{chr(13) if terminal else ''}FAILED  {name}: {outcome.strip('* ')}", flush=True)
    elif terminal:
        print(f"\r{done}/{total} tests", end="", flush=True)


def run(build, arguments, report):
    jobs = str(len(os.sched_getaffinity(0)))
    command = ["ctest", "--test-dir", build, "--no-tests=error", "-j", jobs, "--output-junit", report] + arguments
    tail = []
    terminal = sys.stdout.isatty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          stdin=subprocess.DEVNULL) as ctest:
        for line in ctest.stdout:
            progress(line, terminal)
            tail = (tail + [line.rstrip()])[-400:]
    if terminal:
        print("\r", end="")
    return ctest.returncode, tail


def outcome(case):
    """-> passed, failed or skipped. A test that ctest could not start counts as failed."""
    skipped = case.find("skipped")
    if case.get("status") == "run":
        return "passed"
    return "skipped" if skipped is not None and "SKIP" in skipped.get("message", "") else "failed"


def skip_reason(output):
    """GoogleTest prints 'FILE:LINE: Skipped' and the reason on the next line."""
    match = re.search(r": Skipped\n(.*)", output)
    return match.group(1).strip() if match and match.group(1).strip() else "no reason given"


def cases(report):
    return list(ElementTree.parse(report).getroot().iter("testcase"))


def show(report):
    reasons = {}
    for case in cases(report):
        output = case.findtext("system-out") or ""
        if outcome(case) == "failed":
            print(f"\n--- {case.get('name')}\n{output.rstrip()}")
        elif outcome(case) == "skipped":
            reasons.setdefault(skip_reason(output), []).append(case.get("name"))
    for reason, names in sorted(reasons.items()):
        print(f"\nSkipped ({len(names)}), {reason}:")
        for name in names:
            print(f"  {name}")


def add_up(folders):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for folder in folders:
        for case in cases(os.path.join(folder, REPORT)):
            counts[outcome(case)] += 1
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--sum":
        return add_up(sys.argv[2:])
    build, arguments = sys.argv[1], sys.argv[2:]
    report = os.path.abspath(os.path.join(build, REPORT))
    if os.path.exists(report):
        os.remove(report)
    code, tail = run(build, arguments, report)
    closing = [line for line in tail if re.match(r"\d+% tests passed", line)]
    if not os.path.exists(report) or not closing:  # -N, --help, or ctest itself failed
        print("\n".join(tail))
        return code
    show(report)
    print(f"\n{closing[-1]}")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted")
        sys.exit(130)
