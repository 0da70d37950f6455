"""Great Expectations' own page of a night's results, made whole: nothing is fetched and no script runs.

Its template takes style sheets and scripts from six hosts and a picture that tells one of them who looks. They are taken
out, a small style sheet is put in, and a policy in the page forbids whatever a later release might add.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from pipelines.data.contract.checking import Found

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult

POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem} table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #8884;vertical-align:top;overflow-wrap:anywhere}
td i.fa-check-circle::before{content:"\\2713";color:#12693a} td i.fa-times::before{content:"\\2717";color:#a8071a}
td i.fa-exclamation-triangle::before{content:"!";color:#a8071a} .badge{padding:0 .3rem;border:1px solid #8888;border-radius:.2rem}
.col-lg-2{display:none} .collapse,.list-unstyled{display:block;padding-left:0} h1{font-size:1.5rem}
h2,h3,h4,h5{font-size:1.05rem;margin:1.2rem 0 .3rem}
</style>"""
SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
FETCHED = re.compile(r"<(?:link|img|iframe|base|meta http-equiv=.refresh)\b[^>]*>", re.IGNORECASE)
CHROME = re.compile(r"<(nav|footer)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
AWAY = re.compile(r'<a\b[^>]*\bhref="(?!#)[^"]*"[^>]*>(.*?)</a\s*>', re.DOTALL | re.IGNORECASE)
REMOTE = re.compile(r"url\(['\"]?https?:[^)]*\)", re.IGNORECASE)
HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)


def render(name: str, night: str, found: Sequence[Found]) -> str:
    """The page as HTML; every text that came from data or from the contract is escaped."""
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    results = [_result(one) for one in found if one.rule]
    passed = sum(bool(result.success) for result in results)
    counts = {
        "evaluated_expectations": len(results),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(results) - passed,
        "success_percent": passed / len(results) * 100 if results else None,
    }
    run = {"run_name": f"{escape(name)}, night {escape(night)}", "run_time": night}
    suite = ExpectationSuiteValidationResult(
        suite_name=f"contract of {escape(name)}",
        success=passed == len(results),
        results=results,
        statistics=counts,
        meta={
            "run_id": run,
            "expectation_suite_name": f"contract of {escape(name)}",
            "batch_spec": {"night": night, "data_asset_name": f"traffic of {escape(night)}"},
        },
    )
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer(run_info_at_end=True).render(suite), show_how_to_buttons=False)
    for pattern, kept in ((SCRIPT, ""), (FETCHED, ""), (CHROME, ""), (AWAY, r"\1"), (REMOTE, "none")):
        page = pattern.sub(kept, page)
    return HEAD.sub(lambda head: head[0] + POLICY + STYLE, page, count=1)


def _result(one: Found) -> "ExpectationValidationResult":
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    config = ExpectationConfiguration(type=one.rule.type, kwargs=_safe(one.rule.kwargs), meta={})
    clear = {"raised_exception": False, "exception_message": None, "exception_traceback": None}
    return ExpectationValidationResult(
        success=one.seen.success, expectation_config=config, result=_safe(one.seen.result), meta={}, exception_info=clear
    )


def _safe(value: Any) -> Any:  # noqa: ANN401
    """Texts without what HTML reads as markup: the page's templates escape some of them and not others."""
    if isinstance(value, dict):
        return {_safe(name): _safe(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(inner) for inner in value]
    return str(value).translate(MARKUP) if not isinstance(value, bool | int | float | None) else value


MARKUP = str.maketrans({"<": "\u2039", ">": "\u203a"})  # look-alikes: an entity that is escaped twice could not be read
