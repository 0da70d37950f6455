"""Batched generation beside one prompt at a time, on Nightshift's own work, for us and for engines that could replace ours.

    python -m bench.generation [ours | transformers | openvino | ctranslate2 | llama.cpp | llama.cpp-q4 | endpoint ...]

Without a name: all that are installed. Each runs in a process of its own, whose peak memory is noted; what was measured
is kept in `.nightshift/bench/generation` and printed as one table. All weights are the embedded model's, fp32 except where
the name says q4. `bench/requirements-generation.txt` lists the other engines, for an environment of their own.

Decision: our own decoding stays. CPU seconds on 2 busy cores, together, and how much less that is than one at a time:

                 judge (64)     synthesis (24)  answers (64)   peak of synthesis
    ours         44    2.1x     16.5   5.0x     25.4   9.7x    1.4 GB
    openvino     29    2.4x     12.6   5.9x     16.2  10.3x    2.0 GB
    transformers 79    1.2x     25.8   3.4x                    1.5 GB
    ctranslate2                 32.2   2.0x                    1.9 GB
    llama.cpp                   39.3   2.5x                    1.4 GB

Only OpenVINO GenAI beats it, by a quarter to a third, with equal texts where two settings hold it to fp32 (at its defaults
31 of the 64 answers were equal). It reads a GGUF file or its own format, so every adapter would be merged and converted
before it is judged and served; its own loading of adapters and its grammars in place of our choices were not tried. That
is a second engine to keep equal to training, for a third: not yet. The judge misses four times in every engine: its
prompts have 370 tokens, 111 of them common to all, and it writes 12, so it reads rather than writes.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bench import engines
from pipelines.evaluation import wording
from pipelines.foundation import embedded, rendering
from pipelines.settings import ROOT, load_usecase

HOME = ROOT / ".nightshift/bench/generation"
EVERY = 8  # one at a time: this share of the prompts, scaled up
CLIENTS = (1, 8, 16, 32)


class Work(NamedTuple):
    """Prompts as the model reads them, and how many tokens are written."""

    prompts: list[str]
    limit: int
    choices: list[str]


def questions() -> list[str]:
    """The judge's prompts: pairs of the support desk, both orders."""
    usecase = load_usecase("support")
    template = usecase.prompt("judge.txt")
    rows = map(json.loads, Path(usecase.folder, "judging/preference.jsonl").read_text(encoding="utf-8").splitlines())
    pairs = (wording.Question(r["item"], r["item"], r["prompt"], r["reference"], r["output_1"], r["output_2"]) for r in rows)
    return list(islice((wording.build(template, pair, order) for pair in pairs for order in wording.ORDERS), 64))


def works() -> dict[str, Work]:
    """What a night asks a model: verdicts, rewritten messages, and answers to sealed rows."""
    usecase = load_usecase("support")
    tokenizer = embedded.load_tokenizer(embedded.prepare(ROOT / ".nightshift/models"))
    files = sorted(Path(usecase.folder, "sample").glob("*.jsonl"))
    messages = []
    for line in (line for file in files for line in file.read_text(encoding="utf-8").splitlines()):
        with suppress(ValueError, KeyError, TypeError):  # the sample holds broken lines on purpose
            messages.append(json.loads(line)["text"])
    messages = [text for text in messages if isinstance(text, str) and 2 < len(text) < 400]
    ask = "Messages of customers of a bank:\n{}\nRewrite this message in other words: {}"
    rewrite = [ask.format("\n".join(messages[i : i + 4]), messages[i + 4]) for i in range(0, 96, 4)]
    system = usecase.prompt(usecase.task.system)
    labels = [rendering.words(usecase, label) for label in usecase.contract.labels]
    verdicts = [rendering.render(tokenizer, "", text) for text in questions()]
    sealed = [rendering.render(tokenizer, system, text) for text in messages[200:264]]
    return {
        "judge": Work(verdicts, 12, []),
        "synthesis": Work([rendering.render(tokenizer, "", text) for text in rewrite], 48, []),
        "answers": Work(sealed, 56, []),
        "judge, held": Work(verdicts, 12, ["VERDICT: A", "VERDICT: B", "VERDICT: tie"]),
        "answers, held": Work(sealed, 56, labels),
    }


@contextmanager
def clock(found: dict, share: float = 1.0) -> Iterator[None]:
    """Adds wall and CPU seconds of the block, scaled."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    found |= {"wall": (time.perf_counter() - wall) * share, "cpu": (time.process_time() - cpu) * share}


def measure(name: str, some_works: list[str]) -> dict:
    """Both ways for the works; runs in a process of its own."""
    together, alone = engines.START[name](HOME)
    found: dict[str, dict] = {}
    todo = {key: work for key, work in works().items() if key in some_works and (name == "ours" or not work.choices)}
    for key, work in todo.items():
        alone(work.prompts[0], 4, [])
        some = work.prompts[EVERY // 2 :: EVERY]
        one: dict = {}
        with clock(one, len(work.prompts) / len(some)):  # before the batch: a cache of prompts would know them
            written = [alone(prompt, work.limit, work.choices) for prompt in some]
        one["texts"] = [text for text, _ in written]
        all_: dict = {}
        with clock(all_):
            written = together(work.prompts, work.limit, work.choices)
        all_ |= {"texts": [text for text, _ in written], "tokens": sum(count for _, count in written)}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        found[key] = {"alone": one, "together": all_, "peak_mb": peak}
    return {"works": found}


def endpoint(_: list[str]) -> dict:
    """Judge's calls a second against the served base model, for so many clients."""
    from concurrent.futures import ThreadPoolExecutor

    import requests

    asked, found = questions(), {}
    with engines.endpoint() as url:

        def post(text: str) -> str:
            turns = [{"role": "system", "content": ""}, {"role": "user", "content": text}]
            said = requests.post(f"{url}/chat/completions", json={"model": "base", "messages": turns, "max_tokens": 12}, timeout=600)
            return said.json()["choices"][0]["message"]["content"]

        post(asked[0])
        for clients in CLIENTS:
            some = asked[:8] if clients == 1 else asked
            with ThreadPoolExecutor(clients) as pool:
                timed: dict = {}
                with clock(timed, 1 / len(some)):
                    texts = list(pool.map(post, some))
            found[clients] = timed | {"texts": texts}
    return {"clients": found}


def table(results: dict[str, dict]) -> Iterator[str]:
    """What was measured, against plain transformers, one at a time, and against our texts."""
    yield f"{'':16}{'together':^17}{'alone':^17}"
    head = f"{'tokens/s':>9}{'CPU s':>8}" * 2 + f"{'gain':>7}{'by CPU':>8}{'over tf alone':>15}{'equal':>10}{'peak MB':>9}"
    yield f"{'':16}{head}"
    plain = results.get("transformers", {}).get("works", {})
    ours = results.get("ours", {}).get("works", {})
    for key in ours:
        yield key
        for name, result in results.items():
            if key not in result.get("works", {}):
                continue
            all_, one = (result["works"][key][way] for way in ("together", "alone"))
            base = plain.get(key.removesuffix(", held"))
            over = f"{base['alone']['wall'] / all_['wall']:14.1f}x" if base else f"{'':15}"
            same = sum(a.strip() == b.strip() for a, b in zip(all_["texts"], ours[key]["together"]["texts"], strict=True))
            rates = f"{all_['tokens'] / all_['wall']:9.0f}{all_['cpu']:8.1f}{all_['tokens'] / one['wall']:9.1f}{one['cpu']:8.1f}"
            gains = f"{one['wall'] / all_['wall']:6.1f}x{one['cpu'] / all_['cpu']:7.1f}x"
            yield f"  {name:14}{rates}{gains}{over}{same:6d}/{len(all_['texts']):<3d}{result['works'][key]['peak_mb']:9d}"
    for clients, timed in results.get("endpoint", {}).get("clients", {}).items():
        yield f"endpoint, {clients:>2} clients: {1 / timed['wall']:6.2f} judge's calls a second, {timed['cpu']:5.2f} CPU s each"


def main() -> None:
    """Measure what is named, print all that was measured."""
    ways: dict[str, Callable[[list[str]], dict]] = {name: partial(measure, name) for name in engines.START} | {"endpoint": endpoint}
    parser = argparse.ArgumentParser(description="Batched generation beside one prompt at a time")
    parser.add_argument("names", nargs="*", help=", ".join(ways))
    parser.add_argument("--work", action="append", help="judge, synthesis, answers, 'judge, held' or 'answers, held'; default: all")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the process that measures
    options = parser.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    kept = {name: HOME / f"{name}.json" for name in ways}
    results = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in kept.items() if path.exists()}
    for name in options.names or ways:
        if importlib.util.find_spec(engines.MODULE.get(name, "torch")) is None:
            print(f"{name}: not installed")
            continue
        for work in options.work or (works() if name in engines.START else [""]):
            if options.here:
                found = ways[name]([work])
                whole = {key: results.get(name, {}).get(key, {}) | part for key, part in found.items()}
                kept[name].write_text(json.dumps(whole), encoding="utf-8")
            else:
                subprocess.run([sys.executable, "-m", "bench.generation", "--here", name, "--work", work], check=True)
    if not options.here:
        results = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in kept.items() if path.exists()}
        print("\n".join(table(results)))


if __name__ == "__main__":
    main()
