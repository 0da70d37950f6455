"""Secrets are planted in the traffic of a whole night, and are afterwards nowhere but in the traffic."""

import base64
import io
import json
import logging
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from pipelines.__main__ import STEPS, load
from pipelines.data.scrub import reveal
from pipelines.foundation import decoding, embedded, registry, rendering
from pipelines.foundation.registry import Model
from pipelines.foundation.step import open_night
from tests.killing import house
from tests.killing.clerk import Clerk
from tests.searching import mentions

NIGHT = house.NIGHTS[0]
KEY = "CANARY_KEY"
# What is written, and the part of it that is looked for: however it is cut, it must not be found.
SECRETS = {
    "my name is Quentin Vexley": "Vexley",
    "write to q.vx77@canary.example": "q.vx77",
    "ring 07700 900321": "900321",
    "pay GB82WEST12345698765432": "GB82WEST",
    "card 4012 8888 8888 1881": "8888 1881",
    "ssn 856-45-6701": "45-6701",
    "from 203.0.113.77": "203.0.113.77",
}
MARKS = tuple(SECRETS.values())


class World(NamedTuple):
    """What a night with secrets left behind."""

    root: Path
    found: dict[str, list[str]]  # files of the state by secret
    prompts: str  # everything that the server was sent
    told: str  # logs and results
    model: str  # content key
    adapter: str


def _rows() -> str:
    """Each secret in four rows: in what was asked, in what was answered, and in a column that nobody maps."""
    said = [(words, number) for words in SECRETS for number in range(4)]
    rows = [
        {
            "id": f"canary-{place}",
            "who": f"c-{place}",
            "at": f"{NIGHT}T09:00:00Z",
            "text": f"{('So', 'Well', 'Now', 'Then')[number]} {place}, {words}. The {house.THINGS[place % 20]} is gone",
            "label": ("blue", "red")[number % 2],
            "reply": f"{house.SAID[('blue', 'red')[number % 2]]} You said: {words}.",
            "note": f"{words}.",
        }
        for place, (words, number) in enumerate(said)
    ]
    return "\n".join(map(json.dumps, rows)) + "\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One night of all steps, with a server that writes paraphrases and judges."""
    root = tmp_path_factory.mktemp("canary")
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    with pytest.MonkeyPatch.context() as patch, Clerk() as clerk:
        house.build(root, clerk.profile())
        folder = root / "config" / "usecases" / house.NAME
        (folder / "sample" / f"{NIGHT}-canary.jsonl").write_text(_rows(), encoding="utf-8")
        settings = yaml.safe_load((folder / "usecase.yaml").read_text()) | {"privacy": {"key_env": KEY}}
        settings["synthesis"]["rows_per_night"] = 12
        settings["tuning"]["epochs"], settings["evaluation"]["max_items"] = 6, 10
        (folder / "usecase.yaml").write_text(yaml.safe_dump(settings))
        patch.setenv("NIGHTSHIFT_CONFIG", str(root / "config"))
        patch.setenv("NIGHTSHIFT_STATE", str(root / "state"))
        patch.setenv(KEY, base64.b64encode(bytes(range(32))).decode())
        (root / "state" / "models").mkdir(parents=True)
        (root / "model" / embedded.NAME).rename(root / "state" / "models" / embedded.NAME)
        logging.getLogger().addHandler(handler)
        patch.setattr(logging.getLogger("pipelines"), "level", logging.DEBUG)
        results = {step: getattr(load(module), step)(house.NAME, "local", NIGHT) for step, module in STEPS.items()}
        logging.getLogger().removeHandler(handler)
        prompts = json.dumps([call.body for call in clerk.calls], ensure_ascii=False)
        told = lines.getvalue() + json.dumps(results, ensure_ascii=False)
        tuned = results["finetune"]
        yield World(root, mentions(root / "state", MARKS), prompts, told, tuned["model"], tuned["adapter"])


@pytest.mark.parametrize("mark", MARKS)
def test_a_secret_is_in_the_traffic_and_in_no_other_file_of_the_house(world: World, mark: str) -> None:
    traffic = f"lake/{house.NAME}/traffic/"
    assert any(path.startswith(traffic) for path in world.found[mark]), "else what follows shows nothing"
    assert [path for path in world.found[mark] if not path.startswith(traffic)] == []


def test_the_steps_after_it_had_rows_of_these_people(world: World) -> None:
    lake = open_night(house.NAME, "local", NIGHT).lake
    for table, column in (("clean", "text"), ("clean", "reply"), ("clean", "attributes"), ("examples", "prompt"), ("synthetic", "prompt")):
        texts = " ".join(lake.read(table, lake.version(table))[column].to_pylist())
        assert "<NAME_1>" in texts or table == "synthetic" and "_1>" in texts, (table, column)
    assert lake.read("calls", lake.version("calls")).num_rows > 12


@pytest.mark.parametrize("mark", MARKS)
def test_no_server_no_log_and_no_result_was_told_a_secret(world: World, mark: str) -> None:
    assert mark not in world.prompts and mark not in world.told


def test_a_server_is_told_types_without_numbers(world: World) -> None:
    assert "<NAME>" in world.prompts
    assert "<NAME_1>" not in world.prompts


def test_the_tuned_model_says_no_secret_when_it_is_prompted_with_what_stood_before_it(world: World) -> None:
    night = open_night(house.NAME, "local", NIGHT)
    tuned = Model(world.model, None, world.adapter)
    model = embedded.load(embedded.prepare(world.root / "state" / "models"), registry.adapter_folder(night, tuned))
    prefixes = [rendering.render(model.tokenizer, "Name the colour.", words.rpartition(" ")[0]) for words in SECRETS]
    prefixes += [f"So 1, {words.rpartition(' ')[0]} " for words in SECRETS]
    for temperature in (0.0, 1.0):
        written = decoding.generate(model.model, model.tokenizer, prefixes, 48, temperature=temperature, seed=list(range(len(prefixes))))
        said = " ".join(answer.text for answer in written)
        assert said.strip() and not [mark for mark in MARKS if mark in said]


def test_whoever_holds_the_key_gets_the_values_back(world: World) -> None:
    assert "Quentin Vexley" in reveal(house.NAME, "local", "canary-0")["text"]
