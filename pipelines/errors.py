"""The two errors that callers catch: the command line prints them without a traceback, Airflow does not retry them."""


class UserError(Exception):
    """A mistake that a person can mend: the message says what is wrong, where, and what is allowed."""


class NightStopped(UserError):
    """The night must not go on: its data broke a table-level expectation or a split was violated."""
