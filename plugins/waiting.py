"""The trigger that waits for provider batches in Airflow's triggerer, so that the task holds no worker meanwhile.

It reads the API key from the environment of the triggerer. A provider that is away for a while is asked again; what
cannot be asked at all, or has not ended an hour after its completion window, is told to the task as an event, and the
task decides. When a person ends the task, the batches go on: they are paid for, and the next run collects them.
"""

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipelines.errors import UserError
from pipelines.foundation import batches as provider
from pipelines.foundation.batches import Standing
from pipelines.foundation.retries import LONGEST_ASKED, Failure
from pipelines.settings import load_profile

FIRST_POLL, LONGEST_POLL = 2.0, 60.0  # seconds; the first is not shorter: an event before Airflow has parked the task would fail it
GRACE = datetime.timedelta(hours=1)  # after the completion window
log = logging.getLogger("pipelines.batches")


def deadline(profile: str, batches: list[dict[str, str]]) -> str:
    """When waiting that begins now is given up: an hour after the longest completion window."""
    endpoints = load_profile(profile).endpoints
    hours = max(endpoints[batch["endpoint"]].batch_hours for batch in batches)
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours) + GRACE).isoformat()


class BatchDone(BaseTrigger):
    """Fires once, with {"left": ids of batches that have not ended, "why": the reason}; all have ended where `left` is empty."""

    def __init__(self, profile: str, batches: list[dict[str, str]], until: str) -> None:
        """`batches` holds {"endpoint": name in the profile, "batch": id}; `until` is a moment, so that a restart does not move it."""
        super().__init__()
        self.profile, self.batches, self.until = profile, batches, until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer makes the same one from."""
        return "plugins.waiting.BatchDone", {"profile": self.profile, "batches": self.batches, "until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until all have ended, less and less often."""
        left = [(batch["endpoint"], batch["batch"]) for batch in self.batches]
        said: dict[str, str] = {}
        pause, asked = FIRST_POLL, 0.0
        while left:
            await asyncio.sleep(max(pause, asked))
            pause, asked = min(2 * pause, LONGEST_POLL), 0.0
            for endpoint, batch in list(left):
                try:
                    standing = await asyncio.to_thread(self._look, endpoint, batch)
                except UserError as error:
                    yield self._event(left, str(error))
                    return
                except Failure as failure:
                    if not failure.again:
                        yield self._event(left, str(failure))
                        return
                    standing, asked = Standing(False, str(failure)), max(asked, min(failure.wait or 0.0, LONGEST_ASKED))
                if standing.text != said.get(batch):
                    log.info("batch %s: %s", batch, standing.text)
                    said[batch] = standing.text
                if standing.ended:
                    left.remove((endpoint, batch))
            if left and datetime.datetime.now(datetime.UTC) > datetime.datetime.fromisoformat(self.until):
                told = "; ".join(f"{batch}: {said[batch]}" for _, batch in left)
                yield self._event(left, f"an hour after the completion window the provider says of {told}")
                return
        yield self._event([], "")

    def _look(self, endpoint: str, batch: str) -> Standing:
        return provider.look(load_profile(self.profile).endpoints[endpoint], batch)

    def _event(self, left: list[tuple[str, str]], why: str) -> TriggerEvent:
        return TriggerEvent({"left": [batch for _, batch in left], "why": why})
