"""A person is found in a page however the text was escaped or cut, and what everybody says is nobody's."""

import html
import json
from pathlib import Path

import pytest

from pipelines.system.quotes import Quotes, cross_out, withdraw

TEXT = 'My card "didn\'t" work in Köln & I <b>waited</b>\nfor two hours at the till'


@pytest.mark.parametrize(
    "page",
    [
        TEXT,
        html.escape(TEXT),
        json.dumps({"text": TEXT}),
        json.dumps({"text": TEXT}, ensure_ascii=False),
        html.escape(json.dumps({"text": TEXT})),
        json.dumps({"page": json.dumps({"text": TEXT})}),
        json.dumps({"page": html.escape(TEXT)}),
        f"<td>{html.escape(TEXT[:85])}…</td>",
        TEXT.replace(" ", "\n   "),
    ],
)
def test_a_text_is_found_however_it_is_written(page: str) -> None:
    assert Quotes("u-00042", [], [TEXT]).inside(f"before {page} after".encode())


@pytest.mark.parametrize("page", ["u-000421", "xu-00042", "u-00042-b", "my card works"])
def test_another_id_and_another_text_are_not_taken_for_the_person(page: str) -> None:
    assert not Quotes("u-00042", ["0a1b2c3d4e5f6071"], [TEXT]).inside(page.encode())


def test_a_short_number_and_a_short_text_are_everybodys() -> None:
    quotes = Quotes("17", [], ["thank you"])
    assert not quotes.searched and not quotes.inside(b"17 rows; thank you")


def test_a_report_is_replaced_by_a_notice_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "decision.html").write_text(f"<p>{html.escape(TEXT)}")
    (tmp_path / "night" / "drift.html").write_text("<p>nothing moved")
    assert withdraw(tmp_path, Quotes("u-00042", [], [TEXT]), "e1") == ["night/decision.html"]
    assert "erasure e1" in (tmp_path / "night" / "decision.html").read_text()
    assert (tmp_path / "night" / "drift.html").read_text() == "<p>nothing moved"


def test_a_log_keeps_its_length_so_that_whoever_writes_it_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "night.log"
    with log.open("a") as writer:
        print("row of u-00042 refused", file=writer, flush=True)
        assert cross_out(tmp_path, Quotes("u-00042", [], [])) == ["night.log"]
        print("next line", file=writer, flush=True)
    assert log.read_text() == "row of xxxxxxx refused\nnext line\n"
