"""Leaks at scale: `python -m bench.leaks [TRAIN [SEALED]]`, by default 1,000,000 train rows against 10,000 sealed.

The rows are made of 10 openings, 8 matters, 7 mishaps, 8 places, 8 times and 7 endings, with a name or an amount between, so
that most of them have near-duplicates; a sealed row has one word more. One sealed row in twenty is a train row (a third
each: in capitals, with other punctuation, with one word more). Prints the counts, seconds and the peak of resident memory.
"""

import csv
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.data.leaks import find_leaks
from pipelines.foundation.scratch import scratch

OPENINGS = ["hello", "hi there", "good morning", "please help", "excuse me", "I need help", "quick question", "hey", "dear all", "urgent"]
SUBJECTS = ["my card payment", "the transfer", "a top up", "my cash withdrawal", "the direct debit", "a refund", "my salary", "the cheque"]
VERBS = ["has not arrived", "was declined", "was charged twice", "is still pending", "shows the wrong amount", "was reverted", "is missing"]
PLACES = ["at the supermarket", "in the app", "abroad", "at the station", "in the harbour shop", "at the machine", "online", "at the hotel"]
TIMES = ["this morning", "yesterday", "last week", "on monday", "two days ago", "during my holiday", "just now", "last night"]
ENDINGS = ["what can I do", "please check", "why is that", "can you fix it", "how long does it take", "who do I ask", "is that normal"]
WORDS = [f"{one}{two}" for one in ("ash", "birch", "cedar", "elm", "fir", "oak") for two in ("ford", "ham", "ley", "ton", "wick", "worth")]


def message(draw: random.Random) -> str:
    """One message of some 15 words."""
    parts = [draw.choice(several) for several in (OPENINGS, SUBJECTS, VERBS, PLACES, TIMES, ENDINGS)]
    extra = f"from {draw.choice(WORDS)} {draw.choice(WORDS)}" if draw.random() < 0.5 else f"of {draw.randrange(1, 500)} pounds"
    return f"{parts[0]}, {parts[1]} {extra} {parts[2]} {parts[3]} {parts[4]}. {parts[5]}?"


def rows(count: int, sealed: bool) -> Iterator[str]:
    """Messages; of sealed ones every twentieth is a train row that was changed a little."""
    draw, train = random.Random(2 if sealed else 1), random.Random(1)
    for number in range(count):
        if sealed and number % 20 == 0:
            leaked = message(train)
            yield (leaked.upper(), leaked.replace(",", " -"), f"{leaked} thanks")[number // 20 % 3]
        else:
            yield f"{message(draw)} {draw.choice(WORDS)}" if sealed else message(draw)


def main(train: int, sealed: int) -> None:
    """Write the two files, look for leaks and print what it took."""
    with scratch() as folder:
        for name, count in (("train", train), ("sealed", sealed)):
            with Path(folder, f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["text"])
                writer.writerows([text] for text in rows(count, name == "sealed"))
        started = time.perf_counter()
        found = find_leaks(f"{folder}/train.csv", f"{folder}/sealed.csv")
        seconds = time.perf_counter() - started
    print({name: value for name, value in found.items() if name != "pairs"})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{train:,} train rows against {sealed:,}: {seconds:.1f} s, {train / seconds:,.0f} rows a second, peak memory {peak:,.0f} MB")


if __name__ == "__main__":
    main(*(int(value) for value in (sys.argv[1:] + ["1000000", "10000"][len(sys.argv) - 1 :])))
