"""The one error that ends `python -m loadtest` with status 2."""


class CannotRun(Exception):
    """The run cannot take place, or gave no result. The text is one line that says what to change."""
