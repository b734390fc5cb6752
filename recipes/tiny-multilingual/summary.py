#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Held-out loss per domain before and after each stage, DPO margin and accuracy, balance of the routers: tables in
Markdown from the runs' metrics.jsonl.

usage: summary.py DIR
"""
import json
import os
import sys


def metrics(folder):
    path = os.path.join(folder, "metrics.jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def heldout(folder):
    return [line["heldout"] for line in metrics(folder) if "heldout" in line]


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def loss_table(columns):
    """columns: (heading, {domain: loss})"""
    columns = [(heading, losses) for heading, losses in columns if losses]
    domains = sorted(set().union(*(losses for _, losses in columns)))
    yield row("domain", *(heading for heading, _ in columns))
    yield row(*["---"] * (len(columns) + 1))
    for domain in domains:
        yield row(domain, *(f"{losses[domain]['loss']:.3f}" if domain in losses else "-" for _, losses in columns))


def ends(evaluations):
    return (evaluations[0], evaluations[-1]) if evaluations else ({}, {})


def balance(folder):
    """The largest and smallest share of an expert in any layer over the last quarter of the steps, even load = 1."""
    loads = [line["load"] for line in metrics(folder) if line.get("load")]
    loads = loads[-max(1, len(loads) // 4):]
    if not loads:
        return "-"
    layers = range(len(loads[0]))
    shares = [sum(load[layer][e] for load in loads) / len(loads) * len(loads[0][layer])
              for layer in layers for e in range(len(loads[0][layer]))]
    return f"{min(shares):.2f} to {max(shares):.2f}"


def main():
    folder = sys.argv[1]
    at = {name: os.path.join(folder, name) for name in ("pretrain", "sft", "dpo", "sft-text", "dpo-text")}
    begin, after_pretraining = ends(heldout(at["pretrain"]))
    print("Held-out loss of the text (nats per token)\n")
    print("\n".join(loss_table([("start", begin), ("pretraining", after_pretraining),
                                ("SFT", ends(heldout(at["sft-text"]))[0]), ("DPO", ends(heldout(at["dpo-text"]))[0])])))
    before, after = ends(heldout(at["sft"]))
    print("\nHeld-out loss of the chats' answers\n")
    print("\n".join(loss_table([("before SFT", before), ("after SFT", after)])))
    before, after = ends(heldout(at["dpo"]))
    print("\nHeld-out preference pairs\n")
    print(row("task", "margin before", "margin after", "accuracy after"))
    print(row(*["---"] * 4))
    for task in sorted(after):
        print(row(task, f"{before[task].get('margin', 0):.3f}", f"{after[task]['margin']:.3f}",
                  f"{100 * after[task]['accuracy']:.0f} %"))
    print("\nLoad of the experts, last quarter of the steps, even load = 1: "
          + ", ".join(f"{name} {balance(at[name])}" for name in ("pretrain", "sft", "dpo")))


if __name__ == "__main__":
    main()
