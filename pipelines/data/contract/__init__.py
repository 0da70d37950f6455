"""The contract of a use case: its rules, how they are checked at scale, what is shown of them, and a first one from data."""
