#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks every #include under src/ against tools/layers.txt, and what each module links in src/CMakeLists.txt.

usage: check_includes.py [--self-test]
"""
import fnmatch
import os
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def read_layers(path):
    """-> ({place: [allowed...]}, [(header pattern, [places...])...])"""
    ours, foreign = {}, []
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.split("#")[0].strip()
            if not line:
                continue
            name, _, allowed = line.partition(":")
            if name.startswith("<"):
                foreign.append((name.strip("<>"), allowed.split()))
            else:
                ours[name] = allowed.split()
    return ours, foreign


def inside(path, place):
    """Whether a file or header lies in a module, or matches a pattern such as tensor/block_*.h or *_test.cc."""
    return path.startswith(place + "/") or fnmatch.fnmatch(path, place)


def problem_with(path, quoted, angled, ours, foreign):
    """path is relative to src/. -> what is wrong with this include, or None."""
    if quoted:
        place = max((p for p in ours if inside(path, p)), key=len, default=None)
        if place is None:
            return "lies in no module of tools/layers.txt"
        module = path.split("/")[0]
        if quoted.startswith(module + "/") or any(inside(quoted, what) for what in ours[place]):
            return None
        return f"{place} may not include it (tools/layers.txt)"
    if re.fullmatch(r"[a-z_0-9]+", angled):
        return None  # a standard C++ header
    rows = [places for pattern, places in foreign if fnmatch.fnmatch(angled, pattern)]
    if any(p == "any" or inside(path, p) for places in rows for p in places):
        return None
    return "tools/layers.txt does not allow it here"


def check_includes(root, ours, foreign):
    problems, n_files = [], 0
    source = os.path.join(root, "src")
    for folder, _, names in sorted(os.walk(source)):
        for name in sorted(names):
            if not name.endswith((".h", ".cc", ".inl")):
                continue
            n_files += 1
            full = os.path.join(folder, name)
            path = os.path.relpath(full, source)
            with open(full, encoding="utf-8", errors="replace") as file:
                for number, line in enumerate(file, 1):
                    match = INCLUDE.match(line)
                    problem = match and problem_with(path, *match.groups(), ours, foreign)
                    if problem:
                        header = match.group(1) or match.group(2)
                        problems.append(f"src/{path}:{number}: includes {header}: {problem}")
    return problems, n_files


def check_links(root, ours):
    problems = []
    with open(os.path.join(root, "src/CMakeLists.txt"), encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    for module, arguments in re.findall(r"mixtral_module\((\w+)([^)]*)\)", text):
        allowed = {what for place in ours if place.split("/")[0] == module for what in ours[place]}
        for linked in re.findall(r"\bmixtral_(\w+)", arguments):
            if linked not in allowed:
                problems.append(f"src/CMakeLists.txt: {module} links {linked}, which tools/layers.txt does not allow")
    return problems


def check(root):
    ours, foreign = read_layers(os.path.join(root, "tools/layers.txt"))
    problems, n_files = check_includes(root, ours, foreign)
    return problems + check_links(root, ours), n_files


def self_test():
    """Every kind of violation, planted in a made-up tree next to what is allowed."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {
            "tools/layers.txt": "low:\nhigh: low\nhigh/deep: low part/only_*.h\npart:\n<vendor/*>: low/wrap.cc\n",
            "src/CMakeLists.txt": "mixtral_module(low LINK mixtral_high)\nmixtral_module(high LINK mixtral_low)\n",
            "src/high/ok.cc": '#include "high/x.h"\n#include <vector>\n#include "low/x.h"\n',
            "src/high/deep/ok.cc": '#include "part/only_this.h"\n',
            "src/low/wrap.cc": "#include <vendor/v.hpp>\n",
            "src/low/up.cc": '#include "high/x.h"\n',
            "src/high/bad.cc": '#include "part/only_this.h"\n',
            "src/high/deep/bad.cc": '#include "part/other.h"\n',
            "src/low/vendor.h": "  #  include <vendor/v.hpp>\n",
            "src/low/unknown.h": "#include <sys/unheard_of.h>\n",
            "src/stray.cc": '#include "low/x.h"\n',
        }.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        found = sorted(problem.split(":")[0] for problem in check(root)[0])
    expected = ["src/CMakeLists.txt", "src/high/bad.cc", "src/high/deep/bad.cc", "src/low/unknown.h", "src/low/up.cc",
                "src/low/vendor.h", "src/stray.cc"]
    return [] if found == expected else [f"self-test: expected {expected}, found {found}"]


if __name__ == "__main__":
    ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    PROBLEMS, N_FILES = (self_test(), 0) if "--self-test" in sys.argv else check(ROOT)
    for PROBLEM in PROBLEMS:
        print(PROBLEM)
    print(f"check_includes: {N_FILES} files, {len(PROBLEMS)} problems")
    sys.exit(1 if PROBLEMS else 0)
