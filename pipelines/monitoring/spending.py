"""What was spent: `python -m pipelines spend --usecase support --by night`."""

from decimal import Decimal

from pipelines.foundation.spend import ZERO, Book, Line
from pipelines.foundation.step import open_night

PLACES = ("night", "step", "model")
ANY_NIGHT = "9999-12-31"


def read_spend(usecase: str, profile: str, by: str) -> dict:
    """Totals by night, step or model: {"by", "lines", "total", "alerts"}; a line has calls, tokens and dollars.

    Tokens as the servers counted them; dollars as decimal text. `unsure`: tries that may have been billed, of which the
    server told nothing. `reserved`: for calls under way, or that a killed run left.
    """
    opened = open_night(usecase, profile, ANY_NIGHT)
    balance, chosen = Book(opened.lake).balance, PLACES.index(by)
    lines: dict[str, Line] = {}
    for place, line in balance.lines.items():
        before = lines.get(place[chosen], Line())
        lines[place[chosen]] = Line(*(one + other for one, other in zip(before, line, strict=True)))
    reserved: dict[str, Decimal] = {}
    for account, _, amount in balance.open.values():
        reserved[getattr(account, by)] = reserved.get(getattr(account, by), ZERO) + amount
    told = [_line(by, name, lines.get(name, Line()), reserved.get(name, ZERO)) for name in sorted({*lines, *reserved})]
    whole = (
        Line(*(sum(column, start) for column, start in zip(zip(*lines.values(), strict=True), Line(), strict=True))) if lines else Line()
    )
    return {"by": by, "lines": told, "total": _line(by, "total", whole, sum(reserved.values(), ZERO)), "alerts": balance.alerted}


def render(usecase: str, found: dict) -> str:
    """The same as a table that a person reads."""
    if not found["lines"]:
        return f"{usecase}: nothing was spent"
    columns = ("calls", "prompt", "cached", "completion", "dollars", "unsure", "reserved")
    width = max(len(row[found["by"]]) for row in [*found["lines"], found["total"]])
    lines = [f"{found['by']:<{width}}" + "".join(f"{column:>12}" for column in columns)]
    for row in [*found["lines"], found["total"]]:
        lines.append(f"{row[found['by']]:<{width}}" + "".join(f"{row[column]:>12}" for column in columns))
    return "\n".join([*lines, *found["alerts"]])


def _line(by: str, name: str, line: Line, reserved: Decimal) -> dict:
    money = {"dollars": line.dollars, "unsure": line.unsure, "reserved": reserved}
    return {by: name} | line._asdict() | {key: f"{amount.normalize():f}" for key, amount in money.items()}
