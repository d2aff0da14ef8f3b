"""A wrong option is refused with one line, before anything starts."""

import os
import subprocess
import sys

import pytest
from loadtest.errors import CannotRun
from loadtest.runner.options import FOLDER, Options, checked_url, parse_run_time


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1h1m1s", 3661)])
def test_run_times(text, seconds):
    assert parse_run_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "s", "-5", "1.5", "5 m", "1d", "9999h", "m5"])
def test_what_is_no_run_time_is_refused(text):
    with pytest.raises(CannotRun, match=r"RUN_TIME: "):
        parse_run_time(text)


@pytest.mark.parametrize(
    "text", ["", "localhost:8080", "ftp://x", "http://", "http://x:y", "http://x:99999", "http://x/p"]
)
def test_what_is_no_url_is_refused(text):
    with pytest.raises(CannotRun, match=r"URL: "):
        checked_url(text)


@pytest.mark.parametrize(("url", "port", "local"), [("http://localhost:8080", 8080, True), ("https://a.b", 443, False)])
def test_a_url_is_taken_apart(url, port, local):
    options = Options(url=checked_url(f"{url}/"))
    assert (options.url, options.port, options.is_local) == (url, port, local)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"URL": "nonsense"}, "make loadtest: URL: 'nonsense' is not http://host:port"),
        ({"RUN_TIME": "soon"}, "RUN_TIME: 'soon'"),
        ({"USERS": "0"}, "USERS"),
        ({"PROCESSES": "many"}, "PROCESSES"),
    ],
)
def test_the_command_refuses_with_status_2(env, words):
    done = subprocess.run(
        [sys.executable, "-m", "loadtest"],
        cwd=FOLDER.parent,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
