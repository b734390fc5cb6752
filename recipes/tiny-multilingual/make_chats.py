#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The corpus -> chats (chats/TASK.jsonl) and preference pairs (pairs/TASK.jsonl): questions and answers from help
pages, translations from interface catalogues, arithmetic, and a pass key to be found again.

usage: make_chats.py CORPUS_DIR OUT_DIR [--per-task N] [--seed N]

The same corpus and seed give the same files. A rejected answer is of the right form and wrong: another number, another
page's text, another sentence's translation.
"""
import argparse
import json
import os
import random

LANGUAGES = ("en", "fr", "de", "es", "it")


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_lines(path, items):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        for item in items:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
    os.replace(path + ".tmp", path)


def question_answers(corpus, phrases, draw, n):
    """(question, answer, wrong answer)"""
    topics = {language: [row for row in rows(os.path.join(corpus, "topics.jsonl")) if row["language"] == language]
              for language in LANGUAGES}
    for i in range(n):
        language = LANGUAGES[i % len(LANGUAGES)]
        right, wrong = draw.sample(topics[language], 2)
        yield phrases[language]["ask_topic"].format(title=right["title"]), right["text"], wrong["text"]


def translations(corpus, phrases, draw, n):
    pairs = {language: [row for row in rows(os.path.join(corpus, "parallel.jsonl")) if row["language"] == language]
             for language in LANGUAGES[1:]}
    for i in range(n):
        language = LANGUAGES[1 + i % (len(LANGUAGES) - 1)]
        right, wrong = draw.sample(pairs[language], 2)
        if draw.random() < 0.5:
            name = phrases["en"]["names"][language]
            yield phrases["en"]["translate"].format(language=name, text=right["en"]), right["text"], wrong["text"]
        else:
            name = phrases[language]["names"]["en"]
            yield phrases[language]["translate"].format(language=name, text=right["text"]), right["en"], wrong["en"]


def arithmetic(corpus, phrases, draw, n):
    for i in range(n):
        words = phrases[LANGUAGES[i % len(LANGUAGES)]]
        a, b = draw.randrange(100), draw.randrange(100)
        kind, op = draw.choice((("sum", "+"), ("difference", "-")))
        if op == "-" and b > a:
            a, b = b, a
        right = a + b if op == "+" else a - b
        wrong = right + draw.choice([d for d in (-10, -2, -1, 1, 2, 10) if right + d >= 0])
        yield (words[kind].format(a=a, b=b), words["answer"].format(a=a, b=b, op=op, c=right),
               words["answer"].format(a=a, b=b, op=op, c=wrong))


def pass_keys(corpus, phrases, draw, n):
    lines = {}
    for language in LANGUAGES:
        text = "\n".join(row["text"] for row in rows(os.path.join(corpus, language + ".jsonl"))[:400])
        lines[language] = [line for line in text.split("\n") if 40 <= len(line) <= 120]
    for i in range(n):
        language = LANGUAGES[i % len(LANGUAGES)]
        key, wrong = (f"{draw.randrange(10000, 100000)}" for _ in range(2))
        filler = " ".join(draw.sample(lines[language], draw.randrange(1, 4)))
        words = phrases[language]
        yield (words["key"].format(key=key, text=filler), words["key_answer"].format(key=key),
               words["key_answer"].format(key=wrong))


TASKS = {"questions": question_answers, "translation": translations, "arithmetic": arithmetic, "passkey": pass_keys}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("out")
    parser.add_argument("--per-task", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "phrases.json"), encoding="utf-8") as file:
        phrases = json.load(file)
    for task, make in TASKS.items():
        draw = random.Random(f"{options.seed} {task}")
        chats, pairs = [], []
        for i, (question, answer, wrong) in enumerate(make(options.corpus, phrases, draw, options.per_task)):
            if answer == wrong:
                continue
            if i % 4 < 3:  # a quarter of the questions is for preferences
                chats.append({"messages": [{"role": "user", "content": question},
                                           {"role": "assistant", "content": answer}]})
            else:
                pairs.append({"prompt": question, "chosen": answer, "rejected": wrong})
        write_lines(os.path.join(options.out, "chats", task + ".jsonl"), chats)
        write_lines(os.path.join(options.out, "pairs", task + ".jsonl"), pairs)
        print(f"  {task}: {len(chats)} chats, {len(pairs)} pairs")


if __name__ == "__main__":
    main()
