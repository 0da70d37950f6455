"""What a budget of labels buys, and how many flipped labels are found: Banking77.

Budget: five rows an intent are labelled, 200 more are picked out of 3,000 by `label suggest` or at random; a linear SVM then
answers 1,000 other rows. The difference is paired by item; its 95 % interval is a bootstrap over seeds, and over items within one.
Errors: 5 % of the labels of some rows are flipped at random, and `label errors` looks for them. Banking77 has wrong labels of
its own (Ying and Thomas 2022), so that the precision is a lower bound.

    python -m bench.labels [--seeds 3] [--data FOLDER]
"""

import argparse
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import banking77
from bench.banking77 import Example
from bench.synthesis import PER_CLASS, interval, judge_linear
from pipelines.data.labelling import confident, teaching

if TYPE_CHECKING:
    import numpy as np

BUDGET, POOL, ERROR_ROWS, FLIPPED = 200, 3000, 2000, 0.05


def spend(parts: banking77.Split, seed: int) -> "dict[str, np.ndarray]":
    """Right or wrong by item after the budget was spent in each way."""
    pool = parts.dev[:POOL]
    labelled = [_row(f"a{place}", example, example.label) for place, example in enumerate(parts.train)]
    picks = teaching.choose([_row(str(place), example, None) for place, example in enumerate(pool)], labelled, {}, BUDGET)
    ways = {"at random": random.Random(seed).sample(pool, BUDGET), "suggested": [pool[int(pick.row["example_id"])] for pick in picks]}
    right = {name: judge_linear(parts.train + chosen, [parts.test])[0] for name, chosen in ways.items()}
    return right | {"no more": judge_linear(parts.train, [parts.test])[0]}


def find(examples: list[Example], seed: int) -> tuple[float, float, float]:
    """Precision and recall of the flipped labels that are found, and the share of these whose right label is proposed."""
    draw = random.Random(seed)
    rows = draw.sample(examples, ERROR_ROWS)
    names = sorted({row.label for row in rows})
    given, flipped = [row.label for row in rows], set(draw.sample(range(len(rows)), int(FLIPPED * len(rows))))
    for place in flipped:
        given[place] = draw.choice([name for name in names if name != given[place]])
    texts, groups = [row.text for row in rows], [str(place) for place in range(len(rows))]
    judged = [confident.out_of_fold(texts, given, groups, features) for features in ("words", "characters")]
    found = confident.find(confident.joined(*judged), given)
    hits = [doubt for doubt in found if doubt.place in flipped]
    return len(hits) / len(found), len(hits) / len(flipped), sum(doubt.proposed == rows[doubt.place].label for doubt in hits) / len(hits)


def _row(name: str, example: Example, label: str | None) -> dict:
    return {"example_id": name, "group_id": name, "night": "", "prompt": example.text, "label": label}


def main() -> None:
    """Measure and print."""
    import numpy as np

    parser = argparse.ArgumentParser(description="What a budget of labels buys")
    parser.add_argument("--data", type=Path, help="folder with train.csv")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    started, examples = time.perf_counter(), banking77.read(banking77.data_folder(args.data))
    spent = [spend(banking77.split(examples, PER_CLASS, seed), seed) for seed in range(args.seeds)]
    for name in ("no more", "at random", "suggested"):
        print(f"{name:12}{np.mean([found[name].mean() for found in spent]):8.1%}")
    gaps = [found["suggested"].astype(float) - found["at random"] for found in spent]
    print(f"suggested against random: {np.mean(gaps):+.1%}, 95 % {'{:+.1%} to {:+.1%}'.format(*interval(gaps))}")
    names = sorted({example.label for example in examples})[::4]
    few = [example for example in examples if example.label in names]
    for seed in range(args.seeds):
        precision, recall, right = find(few, seed)
        print(
            f"{ERROR_ROWS} rows of {len(names)} intents, seed {seed}: precision {precision:.2f}, recall {recall:.2f}, fix right {right:.2f}"
        )
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
