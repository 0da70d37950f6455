"""What callers catch: the command line prints the two errors without a traceback and Airflow does not retry them; who waits is no error."""


class UserError(Exception):
    """A mistake that a person can mend: the message says what is wrong, where, and what is allowed."""


class NightStopped(UserError):
    """The night must not go on: its data broke a table-level expectation or a split was violated."""


class Waiting(Exception):
    """A step's work is with a provider: the same step, run again when the batches have ended, goes on where it stopped.

    `batches`: each the name of an endpoint in the profile and the provider's id of a batch there.
    """

    def __init__(self, message: str, batches: list[dict[str, str]]) -> None:
        """The message is for people; `batches` holds {"endpoint": name, "batch": id}."""
        super().__init__(message)
        self.batches = batches
