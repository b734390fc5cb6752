#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unpacked Debian packages -> corpus/DOMAIN.jsonl (id, text, package), corpus/parallel.jsonl (English and its
translation), corpus/topics.jsonl (a help page's title and first paragraph) and corpus/DATA.md, the data card.

usage: extract.py PACKAGES.txt UNPACKED_DIR CORPUS_DIR [--domain-kb N]

Only the standard library. The same packages give the same files: everything is read in sorted order.
"""
import argparse
import hashlib
import html.parser
import json
import os
import re
import struct
import unicodedata
import zipfile
import zlib

LANGUAGES = ("en", "fr", "de", "es", "it")
# Control and format characters, private use.
UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064"
                      "\ufeff\ue000-\uf8ff]")


class Page(html.parser.HTMLParser):
    """The text of a page, a line for each block, from the element with this id on; the title and first paragraph."""

    SKIP = {"script", "style", "head", "nav", "header", "footer", "aside", "noscript"}
    BLOCK = {"p", "div", "li", "h1", "h2", "h3", "h4", "tr", "pre", "dt", "dd", "br", "td", "table", "section"}
    VOID = {"br", "img", "meta", "link", "input", "hr", "col", "base"}

    def __init__(self, start_id):
        super().__init__(convert_charrefs=True)
        self.start_id, self.started = start_id, start_id is None
        self.skipping, self.parts, self.tags = 0, [], []
        self.title, self.first_paragraph = "", ""

    def handle_starttag(self, tag, attributes):
        if self.start_id and ("id", self.start_id) in attributes:
            self.started = True
        elif self.started and self.start_id and tag == "div" and dict(attributes).get("id", "").endswith("Frame"):
            self.started = False  # search and donation boxes after the text
        if tag in self.SKIP:
            self.skipping += 1
        if tag in self.BLOCK:
            self.parts.append("\n")
        if tag not in self.VOID:
            self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag in self.SKIP:
            self.skipping = max(0, self.skipping - 1)
        if tag in self.BLOCK:
            self.parts.append("\n")
        if tag in self.tags:
            while self.tags.pop() != tag:
                pass

    def handle_data(self, data):
        if not self.started or self.skipping:
            return
        self.parts.append(data if "pre" in self.tags else re.sub(r"\s+", " ", data))
        if "h1" in self.tags:
            self.title += data
        elif self.title and "p" in self.tags and not (self.first_paragraph.endswith("\n")):
            self.first_paragraph += data
        if self.first_paragraph and "p" not in self.tags and not self.first_paragraph.endswith("\n"):
            self.first_paragraph += "\n"

    def text(self):
        return "".join(self.parts)


def clean(text):
    """NFC, LF, no control characters, no runs of blanks inside a line, at most one empty line."""
    text = unicodedata.normalize("NFC", text).replace("\r", "\n").replace("\u00a0", " ")
    text = UNWANTED.sub("", text)
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()


def files_below(folder, *endings):
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(endings) and os.path.isfile(os.path.join(path, name)):  # links may lead nowhere
                yield os.path.join(path, name)


def read_text(path):
    with open(path, "rb") as file:
        data = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def from_html(folder, language, argument, sinks):
    for path in files_below(folder, ".html"):
        page = Page(argument)
        page.feed(read_text(path))
        yield os.path.relpath(path, folder), clean(page.text())
        title, first = clean(page.title), clean(page.first_paragraph)
        if argument and 3 <= len(title) <= 60 and 30 <= len(first) <= 200 and "\n" not in title + first:
            sinks["topics"].append({"language": language, "title": title, "text": first})


def catalogue(path):
    """Pairs (msgid, msgstr) of a gettext .mo file; plural forms as pairs, contexts cut off."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if data[:4] == b"\xde\x12\x04\x95" else ">"
    count, ids, strings = struct.unpack_from(order + "3I", data, 8)
    for i in range(count):
        pair = []
        for table in (ids, strings):
            length, offset = struct.unpack_from(order + "2I", data, table + 8 * i)
            pair.append(data[offset:offset + length].decode("utf-8", "replace").split("\x04")[-1].split("\0")[0])
        if pair[0]:
            yield pair


def without_accelerators(text):
    return clean(re.sub(r"[~&_](?=\w)", "", text))


def from_gettext(folder, language, argument, sinks):
    for path in files_below(folder, ".mo"):
        lines = []
        for source, target in catalogue(path):
            source, target = without_accelerators(source), without_accelerators(target)
            if source == target or "\ufffd" in target:
                continue
            lines.append(target)
            if 2 <= len(source.split()) <= 12 and len(target) <= 100 and "\n" not in source + target and not re.search(
                    r"[%${}<>|\\]|\d{3}", source + target):
                sinks["parallel"].append({"language": language, "en": source, "text": target})
        yield os.path.relpath(path, folder), "\n".join(lines)


def from_xpi(folder, language, argument, sinks):
    for path in files_below(folder, ".xpi"):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith((".ftl", ".properties")):
                    lines = re.findall(r"^[\w.-]+\s*=\s*(\S.*)$|^\s+(?:\.\w+ = )?(\w.*)$",
                                       archive.read(name).decode("utf-8", "replace"), re.MULTILINE)
                    yield name, clean("\n".join(re.sub(r"<[^>]*>", "", a or b) for a, b in lines))


def from_sword(folder, language, argument, sinks):
    """SWORD zText: NAME.bzs holds (offset, size, unpacked size) of zlib blocks in NAME.bzz, here a book each."""
    for path in files_below(folder, ".bzs"):
        with open(path, "rb") as index, open(path[:-1] + "z", "rb") as blocks:
            table, packed = index.read(), blocks.read()
        for i in range(len(table) // 12):
            offset, size, _ = struct.unpack_from("<3I", table, 12 * i)
            book = zlib.decompress(packed[offset:offset + size]).decode("utf-8", "replace").replace("\0", "\n")
            book = re.sub(r"<(note|title)\b.*?</\1>", "", book, flags=re.DOTALL)
            text = clean(re.sub(r"<[^>]*>", " ", re.sub(r"<(verse|chapter)\b[^>]*>", "\n", book)))
            for part, lines in enumerate(chunks(text.split("\n"), 60)):
                yield f"{os.path.basename(path)}/{i}/{part}", "\n".join(lines)


def from_python(folder, language, argument, sinks):
    for path in files_below(folder, ".py"):
        text = read_text(path)
        for part, lines in enumerate(chunks(text.split("\n"), 250)):
            yield f"{os.path.relpath(path, folder)}/{part}", "\n".join(line.rstrip() for line in lines).strip()


def from_metamath(folder, language, argument, sinks):
    """Comments and the statements behind them, without the proofs."""
    for path in files_below(folder, "set.mm"):
        text, theorems = read_text(path), []
        for comment, label, kind, statement in re.findall(
                r"\$\(((?:(?!\$\)).)*)\$\)\s+(\w[\w.-]*) \$([pa]) ((?:(?!\$[=.]).)*)", text, re.DOTALL):
            comment = re.sub(r"\(Contributed by.*|\(Revised by.*|\(Proof shortened.*", "", comment, flags=re.DOTALL)
            theorems.append(clean(f"{re.sub(chr(92) + 's+', ' ', comment)}\n{label}: {' '.join(statement.split())}"))
        for part, lines in enumerate(chunks(theorems, 12)):
            yield f"set.mm/{part}", "\n\n".join(lines)


EXTRACTORS = {"html": from_html, "gettext": from_gettext, "xpi": from_xpi, "sword": from_sword, "python": from_python,
              "metamath": from_metamath}


def chunks(items, size):
    for at in range(0, len(items), size):
        yield items[at:at + size]


def is_prose(line):
    letters = sum(c.isalpha() or c.isspace() for c in line)
    return len(line) >= 25 and len(line.split()) >= 4 and letters >= 0.7 * len(line)


def licence_of(folder, package):
    path = os.path.join(folder, "usr/share/doc", package, "copyright")
    if os.path.exists(path):
        found = re.findall(r"^License:\s*(\S.*)$", read_text(path), re.MULTILINE)
        return ", ".join(dict.fromkeys(found)) or "see its copyright file"
    return "see the copyright file of its source package"


def read_packages(path):
    with open(path, encoding="utf-8") as file:
        return [line.split() for line in file if line.strip() and not line.startswith("#")]


def version_of(unpacked, package):
    with open(os.path.join(unpacked, package, "VERSION"), encoding="utf-8") as file:
        return file.read().strip()


def documents(package, extractor, domain, folder, seen, sinks):
    """(id, text) of a package, prose lines once per language; code and math as they are."""
    name, _, argument = extractor.partition(":")
    for place, text in EXTRACTORS[name](folder, domain, argument or None, sinks):
        if domain in LANGUAGES:
            lines = []
            for line in text.split("\n"):
                digest = hashlib.blake2b(f"{domain}\0{line}".encode(), digest_size=8).digest()
                if is_prose(line) and digest not in seen:
                    seen.add(digest)
                    lines.append(line)
            text = "\n".join(lines)
        if len(text) >= 200:
            yield f"{package}/{place}", text


def write_lines(path, rows):
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages")
    parser.add_argument("unpacked")
    parser.add_argument("corpus")
    parser.add_argument("--domain-kb", type=int, default=0, help="text of each domain, chosen by hash (0: all)")
    options = parser.parse_args()
    os.makedirs(options.corpus, exist_ok=True)
    domains, card, seen, sinks = {}, [], set(), {"parallel": [], "topics": []}
    for package, extractor, domain, licence in read_packages(options.packages):
        folder = os.path.join(options.unpacked, package)
        size = 0
        for identity, text in documents(package, extractor, domain, folder, seen, sinks):
            domains.setdefault(domain, []).append({"id": identity, "text": text, "package": package})
            size += len(text.encode())
        card.append(f"| {package} | {version_of(options.unpacked, package)} | {domain} | {licence} | "
                    f"{licence_of(folder, package)} | {size / 1e6:.2f} |")
        print(f"  {package}: {size / 1e6:.2f} MB")
    for domain, rows in sorted(domains.items()):
        if options.domain_kb:
            rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
            size, kept = 0, []
            for row in rows:
                if size < options.domain_kb * 1000:
                    kept.append(row)
                size += len(row["text"].encode())
            rows = kept
        write_lines(os.path.join(options.corpus, domain + ".jsonl"), rows)
    for name, rows in sinks.items():
        unique = {json.dumps(row, sort_keys=True): row for row in rows}
        write_lines(os.path.join(options.corpus, name + ".jsonl"), [unique[key] for key in sorted(unique)])
    with open(os.path.join(options.corpus, "DATA.md"), "w", encoding="utf-8") as file:
        file.write("# Where the training text comes from\n\nDebian packages, unpacked and cleaned by extract.py; texts "
                   "of Python and Metamath as they are, others line by line. Chats and preference pairs are made from "
                   "them and from generated numbers by make_chats.py.\n\n| package | version | domain | licence | "
                   "its copyright file lists | MB extracted |\n|---|---|---|---|---|---|\n" + "\n".join(card) + "\n")


if __name__ == "__main__":
    main()
