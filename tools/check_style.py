#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The style rules that clang-format and the compiler do not check: file length, macros, ASCII, the SPDX line,
namespaces, blanks, commented-out code, links in documents.

usage: check_style.py [--self-test]
"""
import os
import re
import subprocess
import sys
import tempfile

MAX_LINES = 500
CPP = (".h", ".cc", ".inl", ".cu")
SPDX = "SPDX-License-Identifier: Apache-2.0"
# Comments that are code switched off: directives, declarations, calls and returns that end in ";", lone braces. Prose
# and formulas end in ";" too, so this asks for the whole shape of a statement.
DEAD_CODE = re.compile(
    r"^\s*//\s*(#\s*(include|if|define)\b|(return|throw|delete)\b.*;$|[\w:]+((\.|->|::)\w+)*\([^;]*\);$"
    r"|(auto|const|static|int|float|double|bool|size_t|std::\S+)\s+[\w&* ]+=.*;$|(if|for|while)\s*\(.*\)\s*\{?$|[{}]$)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def kind_of(path):
    name = os.path.basename(path)
    if name.endswith(CPP):
        return "c++"
    if name.endswith(".md"):
        return "markdown"
    if name == "CMakeLists.txt" or name.endswith((".cmake", ".sh", ".py", ".clang-tidy", ".clang-format")):
        return "script"
    if path in ("quickstart", "test", ".ci/run") or (path.startswith("tools/") and "." not in name):
        return "script"
    return None


def cpp_problems(lines):
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*#\s*define\b", line):
            yield number, "a macro: write a function or a constant"
        if re.search(r"\busing\s+namespace\b", line):
            yield number, "using namespace: name what is used"
        if not line.isascii():
            yield number, "a character that is not ASCII: write \\u or \\x escapes"
        if DEAD_CODE.match(line):
            yield number, "looks like commented-out code: delete it, git remembers"


def link_problems(root, path, lines):
    fenced = False
    for number, line in enumerate(lines, 1):
        fenced ^= line.startswith("```")
        for target in [] if fenced else LINK.findall(line):
            target = target.split("#")[0]
            if not target or re.match(r"[a-z]+:", target):
                continue
            if not os.path.exists(os.path.join(root, os.path.dirname(path), target)):
                yield number, f"the link to {target} leads nowhere"


def file_problems(root, path):
    kind = kind_of(path)
    if kind is None:
        return
    with open(os.path.join(root, path), "rb") as file:
        text = file.read().decode("utf-8", errors="replace")
    lines = text.split("\n")
    if kind != "markdown":
        if SPDX not in lines[1 if text.startswith("#!") else 0]:
            yield 1, f"the first line (after #!) must say {SPDX}"
        if len(lines) - 1 > MAX_LINES:
            yield len(lines) - 1, f"more than {MAX_LINES} lines: split it"
    if text and not text.endswith("\n"):
        yield len(lines), "no newline at the end"
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
    if kind == "c++":
        yield from cpp_problems(lines)
    if kind == "markdown":
        yield from link_problems(root, path, lines)


def tracked_files(root):
    """Files that git knows or would add: nothing built or ignored."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(path for path in set(listed) if path and os.path.isfile(os.path.join(root, path)))


def check(root, paths):
    return [f"{path}:{number}: {problem}" for path in paths for number, problem in file_problems(root, path)]


def self_test():
    """One planted violation of each kind, beside files that break nothing."""
    head = f"// {SPDX}\n"
    files = {
        "ok.cc": head + "// Says why; it may end so;\n// y = a * b, exactly;\n#pragma once\nint x = 1;  // [T, D]\n// f(x): what f means.\n",
        "ok.md": "[a](ok.cc) [b](https://example.org/x) [c](#part) [d](ok.md#part)\n```\n[e](nowhere)\n```\n",
        "spdx.py": "print(1)\n", "long.cc": head + "\n" * 500, "newline.cc": head + "int x;", "tab.cc": head + "\tint x;\n",
        "blank.md": "x \n", "macro.cc": head + "# define X 1\n", "using.cc": head + "using namespace std;\n",
        "ascii.cc": head + "// \u00e9\n", "dead1.cc": head + "// return x;\n", "dead2.cc": head + "  // a.f(b, c);\n",
        "dead3.cc": head + "// #include <x>\n", "dead4.cc": head + "// const int x = 3;\n", "dead5.cc": head + "  // }\n", "link.md": "[a](nowhere.md)\n",
    }
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        found = [problem.split(":")[0] for problem in check(root, sorted(files))]
    expected = sorted(path for path in files if not path.startswith("ok"))
    return [] if found == expected else [f"self-test: expected {expected}, found {found}"]


if __name__ == "__main__":
    ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    PATHS = [] if "--self-test" in sys.argv else tracked_files(ROOT)
    PROBLEMS = check(ROOT, PATHS) if PATHS else self_test()
    for PROBLEM in PROBLEMS:
        print(PROBLEM)
    print(f"check_style: {len(PATHS)} files, {len(PROBLEMS)} problems")
    sys.exit(1 if PROBLEMS else 0)
