"""The session of this process: a process takes part in one run at a time."""

from loadtest.scenarios.session import Session

_session: Session | None = None


def session() -> Session:
    """Raises RuntimeError outside of a run: a locustfile must call `install` before its test starts."""
    if _session is None:
        raise RuntimeError("no load test runs: call loadtest.scenarios.install() in the locustfile")
    return _session


def is_running() -> bool:
    """Whether a run is on, that is not judged yet."""
    return _session is not None and not _session.ended.is_set()


def begin(session: Session) -> None:
    """The former session ends, its greenlets too."""
    global _session
    end()
    _session = session
    session.start()


def end() -> None:
    """The session is over. Users may still write into its ledger while they are stopped; nobody reads it."""
    if _session is not None:
        _session.stop()
