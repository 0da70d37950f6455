"""`make nightly`, up to where the steps begin; the whole night is in tests/integration."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins import run_night
from plugins.bootstrap import environment

House = Callable[..., Path]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            ["--usecase", "nobody", "--night", "2026-11-20"], "there is no use case 'nobody'; the use cases are small", id="use case"
        ),
        pytest.param(["--usecase", "small", "--night", "yesterday"], "'yesterday' is not a date", id="night"),
        pytest.param(["--usecase", "small", "--night", "2026-11-20", "--profile", "mars"], "there is no profile 'mars'", id="profile"),
    ],
)
def test_a_mistake_is_one_message_before_airflow_starts(
    house: House, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    house()
    assert run_night.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_the_secret_is_long_kept_and_private(tmp_path: Path) -> None:
    first, second = (environment(tmp_path)["AIRFLOW__API_AUTH__JWT_SECRET"] for _ in range(2))
    assert first == second and len(first) >= 64
    assert (tmp_path / "airflow" / "jwt").stat().st_mode & 0o077 == 0
