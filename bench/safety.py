"""The safety sets that are public, read as the night reads them: `python -m bench.safety`.

Printed is what they would keep out of the data. XSTest, AdvBench and BIPIA are looked for in the profile's data_folders.
Expected are no refused rows of banking77 and of the support sample; those that there are, are listed. No row of a public
set is printed.
"""

import csv
import json
import time
from collections import Counter
from collections.abc import Iterator

from pipelines.evaluation import matcher
from pipelines.foundation import places, protected
from pipelines.foundation.step import Night, open_night
from pipelines.sections import InjectionFile, PromptFile, Safety
from pipelines.settings import ROOT, default_profile

SETS = {
    "xstest": Safety(prompts=[PromptFile(path="xstest/xstest_prompts.csv", label="label")]),
    "advbench": Safety(prompts=[PromptFile(path="advbench/harmful_behaviors.csv", text="goal")]),
    "bipia": Safety(injections=[InjectionFile(path="bipia/text_attack_train.json")]),
}


def main() -> None:
    """Print the counts, the refused rows, and how the matcher reads the sample's replies."""
    night = open_night("support", default_profile(), "2026-11-20")
    rows = {"support sample": list(_sample()), "banking77": list(_banking77(night))}
    for name, safety in ({"support/safety": night.usecase.safety} | SETS).items():
        changed = night._replace(usecase=night.usecase.model_copy(update={"safety": safety}))
        if missing := [file.path for file in (*safety.prompts, *safety.injections) if not _there(changed, file.path)]:
            print(f"{name}: {', '.join(missing)} is in no data folder, left out")
            continue
        found = protected.read(changed)
        sides = Counter("unsafe" if prompt.unsafe else "safe" for prompt in found.prompts)
        print(f"{name}: {sides['unsafe']} unsafe and {sides['safe']} safe prompts, {len(found.injections)} injections")
        _refused(protected.Guard(changed), rows)
    replies = Counter((label == "out_of_scope", matcher.match(reply)) for label, reply in _replies())
    print(
        f"matcher {matcher.VERSION}: a refusal in {replies[False, '1']} of {replies[False, '0'] + replies[False, '1']} helpful replies "
        f"and in {replies[True, '1']} of {replies[True, '0'] + replies[True, '1']} out-of-scope ones"
    )


def _refused(guard: protected.Guard, rows: dict[str, list[str]]) -> None:
    for data, texts in rows.items():
        started = time.perf_counter()
        hits = [(text, found) for text in texts if (found := guard.find(text)) is not None]
        print(f"  {data}: {len(hits)} of {len(texts)} rows would be refused ({time.perf_counter() - started:.1f} s)")
        for text, found in hits:
            print(f"    {' '.join(text.split())[:100]!r} by {protected.told(found)}")


def _there(night: Night, path: str) -> bool:
    return any(place.is_file() for place in places.searched(night, path))


def _sample() -> Iterator[str]:
    yield from (row["text"] for row in _objects() if isinstance(row.get("text"), str))


def _replies() -> Iterator[tuple[str, str]]:
    yield from ((row["intent"], row["reply"]) for row in _objects() if isinstance(row.get("reply"), str) and "intent" in row)


def _objects() -> Iterator[dict]:
    """The readable rows of the support sample."""
    for path in sorted((ROOT / "config/usecases/support/sample").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _banking77(night: Night) -> Iterator[str]:
    """The messages of train.csv, none where it is in no data folder."""
    path = next((place for place in places.searched(night, "banking77/train.csv") if place.is_file()), None)
    if path is not None:
        with path.open(encoding="utf-8", newline="") as file:
            yield from (row["text"] for row in csv.DictReader(file))


if __name__ == "__main__":
    main()
