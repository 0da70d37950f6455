"""The pages of the console: every use case's newest night, the night of a run, and the reports.

Every route asks for a signed-in user, files are served only from the reports folder, and all text is escaped: some of
it comes from traffic.
"""

import html
from pathlib import Path
from typing import NamedTuple

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

from pipelines.errors import UserError
from pipelines.settings import default_profile, load_profile, usecases
from plugins.console import PREFIX

NIGHTS = 14  # in the table of nights
SERVED = {".html": "text/html", ".md": "text/plain", ".json": "application/json", ".yaml": "text/plain"}
# A report may run its own scripts, and must not reach Airflow with the reader's session.
SANDBOX = {"Content-Security-Policy": "sandbox allow-scripts allow-popups", "X-Content-Type-Options": "nosniff"}
LINKS = {
    "Decision": ("publish_card", "decision"),
    "Model card": ("publish_card", "card"),
    "Lineage": ("publish_card", "lineage"),
    "Drift report": ("drift", "report"),
    "Data report": ("validate", "docs"),
    "Data docs": ("validate", "gx_docs"),
    "Contract": ("validate", "contract_file"),
    "Synthesis": ("synthesize", "report"),
}
STYLE = """
:root{color-scheme:light dark} body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;margin:.7rem 0} th,td{padding:.25rem .9rem;border-bottom:1px solid #8884;text-align:right}
th:first-child,td:first-child{text-align:left} th{font-weight:600} section{margin-bottom:2.5rem} h2{margin-bottom:.2rem}
.verdict{padding:.1rem .5rem;border-radius:.3rem;font-weight:600;border:1px solid currentColor} .PROMOTE{color:#188038}
.REJECT{color:#c5221f} .INSUFFICIENT_DATA{color:#b06000} a{color:#1a73e8;margin-right:1.2rem} .quiet{opacity:.7}
@media(prefers-color-scheme:dark){.PROMOTE{color:#81c995}.REJECT{color:#f28b82}.INSUFFICIENT_DATA{color:#fdd663}a{color:#8ab4f8}}
"""
app = FastAPI(title="Nightshift", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(get_user)])


class Asked(NamedTuple):
    """Which night a page shows; an empty night is the newest."""

    usecase: str
    profile: str
    night: str


@app.get("/")
def overview() -> HTMLResponse:
    """Every use case's newest night, and in a table the nights before it."""
    return page("".join(section(Asked(name, default_profile(), "")) + history(name) for name in usecases()))


@app.get("/night")
def night(dag_id: str, run_id: str) -> HTMLResponse:
    """The night that a DAG run works on."""
    return page(section(asked_by(dag_id, run_id)))


@app.get("/report/{profile}/{path:path}")
def report(profile: str, path: str) -> FileResponse:
    """A file of the reports folder; 404 for anything outside it."""
    try:
        folder = reports(profile)
    except UserError:
        raise HTTPException(404, "no such report") from None
    file = (folder / path).resolve()
    if not file.is_relative_to(folder) or file.suffix not in SERVED or not file.is_file():
        raise HTTPException(404, "no such report")
    return FileResponse(file, media_type=SERVED[file.suffix], headers=SANDBOX, content_disposition_type="inline")


def reports(profile: str) -> Path:
    """The folder that reports are served from."""
    if not profile.isidentifier():
        raise UserError("a profile is a name")
    return Path(load_profile(profile).state).resolve() / "reports"


def asked_by(dag_id: str, run_id: str) -> Asked:
    """The use case, profile and night of a run; raises 404 where it is none of ours."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from plugins.defaults import night_of

    usecase = dag_id.partition("__")[2]
    with create_session() as session:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None or usecase not in usecases():
            raise HTTPException(404, "no such night")
        conf = run.conf or {}
        return Asked(usecase, conf.get("profile") or default_profile(), night_of(run, conf))


def section(asked: Asked) -> str:
    """One night: its verdict, figures and reports; or why there is nothing to show yet."""
    from pipelines.foundation.step import open_night, results
    from pipelines.monitoring.status import read_status

    title = f"<h2>{html.escape(asked.usecase)}</h2>"
    try:
        status = read_status(asked.usecase, asked.profile, asked.night)
        done = results(open_night(asked.usecase, asked.profile, status["night"]).lake, status["night"])
    except UserError as error:
        return f"<section>{title}<p class=quiet>{html.escape(str(error))}</p></section>"
    if not done:
        return f"<section>{title}<p class=quiet>The night {html.escape(status['night'])} has no finished step yet.</p></section>"
    verdict = html.escape(status["verdict"] or "no verdict yet")
    champion = f"version {html.escape(str(status['champion_version']))}" if status["champion_version"] else "the base model"
    rows = ", ".join(f"{count} {html.escape(name)}" for name, count in status["rows"].items())
    body = f"<p>Night {html.escape(status['night'])}: <span class='verdict {verdict}'>{verdict}</span> champion: {champion}</p>"
    body += f"<p class=quiet>{html.escape(done.get('gate', {}).get('reason') or '')}</p>"
    body += f"<p>Promotion: {html.escape(done['promote']['why'])}</p>" if "promote" in done else ""
    body += f"<p>Rows: {rows}</p>"
    if by := status["replace_champion_by"]:
        body += f"<p><b>The champion was trained on rows that were erased since: it must be replaced by {html.escape(by)}.</b></p>"
    reports_of = links(asked.profile, with_page(asked, done))
    return f"<section>{title}{body}{metrics(status['metrics'])}{seconds(status)}<p>{reports_of}</p></section>"


def history(usecase: str) -> str:
    """The newest nights of a use case, a line each: what was decided, and what it took."""
    from pipelines.foundation.step import open_night, results

    lake, lines = open_night(usecase, default_profile(), "9999-12-31").lake, []
    nights = sorted(set(lake.read("memo", lake.version("memo"), columns=["night"])["night"].to_pylist()), reverse=True)
    for night in nights[:NIGHTS] if len(nights) > 1 else ():
        done = results(lake, night)
        promoted, calls = done.get("promote", {}), sum(found.get("model_calls", 0) for found in done.values())
        champion = f"version {promoted['champion_version']}" if promoted.get("champion_version") else "the base model" if promoted else ""
        cells = (done.get("gate", {}).get("verdict") or "", champion, f"{sum(found['seconds'] for found in done.values()):.0f} s", calls)
        cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in (*cells, promoted.get("why", "")))
        lines.append(f"<tr><td>{html.escape(night)}</td>{cells}</tr>")
    titles = ("night", "verdict", "champion", "work", "model calls", "why")
    return f"<table><tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>{''.join(lines)}</table>" if lines else ""


def metrics(found: dict[str, dict]) -> str:
    """The verdict table."""
    if not found:
        return ""
    sides = ("champion", "candidate", "difference", "low", "high")
    lines = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{_figure(row[side])}</td>' for side in sides)}</tr>" for name, row in found.items()
    )
    return f"<table><tr><th>metric</th>{''.join(f'<th>{side}</th>' for side in sides)}</tr>{lines}</table>"


def seconds(status: dict) -> str:
    """Where the time went."""
    parts = ", ".join(f"{html.escape(step)} {spent:.0f} s" for step, spent in status["seconds"].items() if spent >= 0.5)
    total = f"{sum(status['seconds'].values()):.0f} s of work"
    return f"<p class=quiet>{total}{': ' if parts else ''}{parts}; {status['model_calls']} model calls</p>"


def with_page(asked: Asked, done: dict[str, dict]) -> dict[str, dict]:
    """While somebody is asked to approve, the decision page exists before the step that publishes it."""
    if "gate" not in done or "publish_card" in done:
        return done
    return done | {"publish_card": {"decision": str(reports(asked.profile) / asked.usecase / done["gate"]["night"] / "decision.html")}}


def links(profile: str, done: dict[str, dict]) -> str:
    """Links to the reports that were written, through the route that checks the reader and the path."""
    shown = []
    for title, (step, key) in LINKS.items():
        file = Path(str(done.get(step, {}).get(key) or "")).resolve()
        if file.is_file() and file.is_relative_to(reports(profile)):
            path = html.escape(f"{PREFIX}/report/{profile}/{file.relative_to(reports(profile))}", quote=True)
            shown.append(f"<a href='{path}' target='_blank' rel='noopener'>{title}</a>")
    return "".join(shown)


def page(body: str) -> HTMLResponse:
    """One page; it needs no script, so none may run."""
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Nightshift</title><style>{STYLE}</style>{body}</html>", headers=policy
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
