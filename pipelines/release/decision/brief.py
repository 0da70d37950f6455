"""What a person is shown who is asked to approve a promotion: Markdown for the Airflow UI, and the page that it links.

It is written when the gate has decided and before anything moves; the page says so. The rest is on the page.
"""

from pipelines.foundation.step import open_night
from pipelines.release.decision import markdown, page, words
from pipelines.release.decision.facts import gather
from pipelines.release.decision.hostile import said

ROUTE = "/nightshift/report"  # of the console in the Airflow UI, which serves the reports folder
LONGEST = 8_000  # letters
FLIPS, QUOTE = 5, 140
CUT = "\n\n(cut here: the rest is on the decision page)\n"


def brief(usecase: str, profile: str, night: str) -> str:
    """The body of the request; writes the decision page as it stands. Raises UserError where the gate has not decided."""
    opened = open_night(usecase, profile, night)
    facts = gather(opened)
    written = page.write_page(opened, facts)
    link = f"[Decision page]({ROUTE}/{profile}/{usecase}/{opened.night}/{written.name})"
    parts = [
        [f"**{facts.verdict}** for {said(usecase)}, night {opened.night}. {said(words.headline(facts), 500)}"],
        [f"{said(words.moved(facts))} {said(words.looks(facts))} {link} (intervals, judges, items, lineage)"],
        markdown.staging(facts),
        markdown.metrics(facts.metrics),
        markdown.slices(facts, most=8),
        markdown.safety(facts),
        markdown.flips(facts, FLIPS, QUOTE),
    ]
    return markdown.cut("\n\n".join("\n".join(part) for part in parts if part) + "\n", LONGEST, CUT)
