"""Whether synthetic rows help where real ones are few: Banking77, five rows an intent, real alone beside real and synthetic.

As many synthetic rows as real ones, made by the pipeline's own methods and filters. Judged are 1,000 other rows, as they are
and with typos in a fifth of their words, by a linear SVM over words and characters (seconds), or with --tune by the embedded
model after a short fine-tuning (minutes a seed and line). The difference from real rows alone is paired by item; its 95 %
interval is a bootstrap over seeds, and over items within a seed.

    python -m bench.synthesis [--model] [--tune] [--seeds 3] [--data FOLDER]      # --model: paraphrases by the embedded model too
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import banking77
from bench.banking77 import Example
from pipelines.data.synthesis import augment, making, personas, plans
from pipelines.foundation import decoding, embedded, protected
from pipelines.foundation.lake import Lake
from pipelines.foundation.step import Night
from pipelines.foundation.tab import Tab
from pipelines.sections import Safety, Synthesis, Task
from pipelines.settings import default_profile, load
from pipelines.tuning import loop

if TYPE_CHECKING:
    import numpy as np

PER_CLASS, DRAWS, SLIPS = 5, 2000, 0.2
NIGHT = "2026-11-20"
LINES = {
    "typos": {"typos": 1.0},
    "casing": {"casing": 1.0},
    "noise": {"noise": 1.0},
    "all three": {"typos": 1.0, "casing": 1.0, "noise": 1.0},
}
Judge = Callable[[list[Example], list[list[Example]]], "list[np.ndarray]"]  # what is learnt, what is judged -> right or wrong


def synthesize(train: list[Example], test: list[Example], methods: dict[str, float], seed: int, folder: Path) -> list[Example]:
    """As many synthetic rows as `train` has, made as a night makes them, each held against the filters."""
    profile, usecase = load("support", default_profile())
    given = {"prompt": "paraphrase.txt", "temperature": 0.4, "min_real_share": 0.5, "seed": seed}
    settings = Synthesis(rows_per_night=len(train), methods=methods, **given)
    task = Task(answer="label", label_words=False)
    usecase = usecase.model_copy(update={"synthesis": settings, "task": task, "safety": Safety()})
    lake = Lake(str(folder / "lake"))
    night = Night(usecase, profile, NIGHT, lake, Tab(lake, usecase.budget, NIGHT, "synthesize"))
    real = [_row(f"a{place}", example, "train") for place, example in enumerate(train)]
    sealed = [_row(f"b{place}", example, "test") for place, example in enumerate(test)]
    maker = making.Maker(night, plans.Stock(real, sealed, [], {}, personas.NEUTRAL), protected.Guard(night))
    maker.make(len(train))
    refused = {method: dict(words) for method, words in maker.refused.items()}
    print(f"  seed {seed}, {'+'.join(methods)}: {len(maker.rows)} rows, refused {refused}", flush=True)
    return [Example(row["prompt"], row["label"]) for row in maker.rows]


def slipped(test: list[Example], seed: int) -> list[Example]:
    """The rows with typos, by draws that no training row had."""
    return [
        Example(augment.alter("typos", example.text, random.Random(f"slips {seed} {place}"), SLIPS), example.label)
        for place, example in enumerate(test)
    ]


def judge_linear(train: list[Example], tests: list[list[Example]]) -> "list[np.ndarray]":
    """The SVM of `bench.banking77`: right or wrong by item."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, characters), LinearSVC())
    model.fit([example.text for example in train], [example.label for example in train])
    found = [model.predict([example.text for example in test]) for test in tests]
    return [
        np.array([label == example.label for label, example in zip(labels, test, strict=True)])
        for labels, test in zip(found, tests, strict=True)
    ]


def judge_tuned(train: list[Example], tests: list[list[Example]]) -> "list[np.ndarray]":
    """The embedded model after the same number of steps whatever it learns from: right or wrong by item."""
    import numpy as np

    base = embedded.prepare(Path(".nightshift/models"))
    tokenizer, labels = embedded.load_tokenizer(base), sorted({example.label for example in train})
    epochs = 5 * 77 * PER_CLASS / len(train)  # equal work for all, or more rows would only mean more training
    recipe = banking77.RECIPE.model_copy(update={"epochs": epochs, "frozen_layers": 15})
    with tempfile.TemporaryDirectory() as scratch:
        loop.train(base, banking77.rows(tokenizer, train), recipe, Path(scratch), lambda _: None)
        model, tokenizer = embedded.load(base, Path(scratch) / "adapter")
    longest, found = max(len(tokenizer(label)["input_ids"]) for label in labels), []
    for test in tests:
        answers = decoding.generate(model, tokenizer, [banking77.rendered(tokenizer, row.text) for row in test], longest, choices=labels)
        pairs = zip(answers, test, strict=True)
        found.append(np.array([answer.text.split("\n")[0] == example.label for answer, example in pairs]))
    return found


def interval(differences: "Sequence[np.ndarray]") -> tuple[float, float]:
    """95 % percentile bootstrap of the mean: seeds are drawn, then items within each."""
    import numpy as np

    draw, means = np.random.default_rng(0), []
    for _ in range(DRAWS):
        seeds = draw.integers(0, len(differences), len(differences))
        means.append(np.mean([draw.choice(differences[seed], len(differences[seed])).mean() for seed in seeds]))
    return tuple(float(bound) for bound in np.quantile(means, (0.025, 0.975)))


def measure(folder: Path, seeds: int, lines: dict[str, dict[str, float]], judge: Judge, judged: int) -> None:
    """Print the table."""
    import numpy as np

    right: dict[str, list[list[np.ndarray]]] = {"real alone": [], **{name: [] for name in lines}}
    for seed in range(seeds):
        parts = banking77.split(banking77.read(folder), PER_CLASS, seed)
        clean = parts.test[:judged]
        tests = [clean, slipped(clean, seed)]
        right["real alone"].append(judge(parts.train, tests))
        for name, methods in lines.items():
            with tempfile.TemporaryDirectory() as scratch:
                made = synthesize(parts.train, parts.test, methods, seed, Path(scratch))
            right[name].append(judge(parts.train + made, tests))
    print(f"{'':14}{'as they are':>12}{'difference':>12}{'95 %':>20}{'with slips':>14}{'difference':>12}{'95 %':>20}")
    for name, found in right.items():
        cells = []
        for side in (0, 1):
            gaps = [one[side].astype(float) - zero[side] for one, zero in zip(found, right["real alone"], strict=True)]
            low, high = interval(gaps) if name != "real alone" else (0.0, 0.0)
            shown = f"{np.mean(gaps):+12.1%}{f'{low:+.1%} to {high:+.1%}':>20}" if name != "real alone" else " " * 32
            cells.append(f"{np.mean([one[side].mean() for one in found]):12.1%}{shown}")
        print(f"{name:14}{cells[0]}  {cells[1]}", flush=True)


def _row(name: str, example: Example, side: str) -> dict:
    row = {"example_id": name, "group_id": name, "prompt": example.text, "response": None, "label": example.label}
    return row | {"source": "traffic", "split": side, "night": NIGHT, "attributes": "{}"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Whether synthetic rows help")
    parser.add_argument("--data", type=Path, help="folder with train.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", action="store_true", help="paraphrases by the embedded model too")
    parser.add_argument("--tune", action="store_true", help="fine-tune the embedded model instead of the SVM, and judge 300 rows")
    args = parser.parse_args()
    lines = {"all three": LINES["all three"]} if args.tune else dict(LINES)
    lines |= {"paraphrase": {"paraphrase": 1.0}} if args.model else {}
    started = time.perf_counter()
    judge = judge_tuned if args.tune else judge_linear
    measure(banking77.data_folder(args.data), args.seeds, lines, judge, 300 if args.tune else banking77.TEST_ROWS)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
