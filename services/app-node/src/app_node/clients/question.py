"""One question to many clients: who is expected to answer, who has, and who will not. Pure.

Whoever reads the inbox of a home says which of the home's clients it has asked (`AckExpected`), before any of them
answers. The home's own io-node also names those that another io-node holds, and those that are away. So the question is
complete when each of its homes has spoken, and nobody is left of whom nothing is known.

- A home without an io-node (parked, or its io-node has died before it spoke) cannot speak. The records of its clients
  say who they are (`found`).
- A client that another io-node holds must be named by that one too (`unconfirmed`, until then).

Messages may come in any order, and again: what is known of a client is not changed by what says less.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Literal, TypeAlias

from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import AckExpected

Missing: TypeAlias = Literal["timeout", "disconnected", "node lost", "malformed"]
"""Why a client has not answered: it is connected and was silent; it is not connected, or its connection has ended; its
io-node has died; its answer cannot be decoded."""


Speechless: TypeAlias = Literal["parked", "lost", "silent"]
"""Why a home does not speak: it had no io-node when it was asked; its io-node has died since; the time was over."""


class Question:
    """`missing`: who will not answer, and why. It may still change while the question is not `complete`."""

    def __init__(self) -> None:
        self.missing: dict[str, Missing] = {}
        self._sent = False
        self._homes_due: set[str] = set()  # whose own io-node has not said whom it has asked
        self._records_due: set[str] = set()  # whose clients' records must be read
        self._asked: dict[str, str] = {}  # who has not answered: sid -> the io-node that has asked it
        self._unconfirmed: dict[str, str | None] = {}  # sid -> the io-node that holds it, None where nobody knows
        self._answered: set[str] = set()
        self._parts: dict[tuple[str, str], set[int]] = {}  # by io-node and home: the parts that have come
        self._spoken: set[tuple[str, str]] = set()  # io-nodes that have said all of a home

    @property
    def complete(self) -> bool:
        """Whether it is known of each client that was to answer whether it has."""
        return self._sent and not (self._homes_due or self._records_due or self._asked or self._unconfirmed)

    @property
    def unconfirmed(self) -> Collection[str]:
        """Clients that belong to those who are asked, and that no io-node has said it has asked."""
        return self._unconfirmed.keys()

    @property
    def homes_due(self) -> Collection[str]:
        """Homes whose io-node has not said whom it has asked."""
        return self._homes_due

    @property
    def nodes(self) -> set[str]:
        """The io-nodes that it waits for."""
        holders = {node for node in self._unconfirmed.values() if node is not None}
        return {*self._homes_due, *self._asked.values(), *holders}

    def knows(self, sid: str) -> bool:
        """Whether something was heard of this client."""
        return sid in self._answered or sid in self.missing or sid in self._asked or sid in self._unconfirmed

    # --- what comes

    def sent(self, homes: Iterable[str]) -> None:
        """It is in the inboxes of these homes."""
        self._sent = True
        self._homes_due = {home for home in homes if (home, home) not in self._spoken}

    def expected(self, node: str, message: AckExpected) -> None:
        """This io-node says whom it has asked."""
        for sid in message.sids:
            self._unconfirmed.pop(sid, None)
            if sid not in self._answered and sid not in self.missing:
                self._asked[sid] = node
        for sid in message.elsewhere:
            if not self.knows(sid):
                self._unconfirmed[sid] = None
        for sid in message.away:
            if sid not in self._answered and sid not in self._asked:
                self._miss(sid, "disconnected")
        parts = self._parts.setdefault((node, message.home), set())
        parts.add(message.part)
        if len(parts) == message.parts:
            self._spoke(node, message.home)

    def answered(self, sid: str) -> bool:
        """This client has answered. False where it had before."""
        if sid in self._answered:
            return False
        self._answered.add(sid)
        self.missing.pop(sid, None)
        self._asked.pop(sid, None)
        self._unconfirmed.pop(sid, None)
        return True

    def missed(self, sid: str, why: Missing = "disconnected") -> None:
        """This client will not answer."""
        if sid not in self._answered:
            self._miss(sid, why)

    # --- what is found out

    def lost(self, node: str) -> None:
        """This io-node has died: who was asked there will not answer. If it is due, its home is `speechless`."""
        for waiting in (self._asked, self._unconfirmed):  # nobody of these is in `missing`
            lost = [sid for sid, holder in waiting.items() if holder == node]
            self.missing.update(dict.fromkeys(lost, "node lost"))
            if len(lost) == len(waiting):
                waiting.clear()
            else:
                for sid in lost:
                    del waiting[sid]

    def speechless(self, home: str) -> None:
        """Nobody speaks for this home: the records of its clients are read (`found`, then `read`)."""
        self._homes_due.discard(home)
        self._records_due.add(home)

    def found(self, sid: str, holder: str, home: Speechless, *, away: bool) -> None:
        """A record says that this client of a home that does not speak belongs to those who are asked.

        `holder`: the io-node that had it last.
        """
        if self.knows(sid):
            return
        if holder == node_of(sid) and (home == "lost" or not away):
            self._miss(sid, "timeout" if home == "silent" else "node lost")
        elif away or (holder, node_of(sid)) in self._spoken:
            self._miss(sid, "disconnected")
        else:
            self._unconfirmed[sid] = holder

    def read(self, home: str) -> None:
        """The records of this home's clients were read."""
        self._records_due.discard(home)

    def held_by(self, sid: str, holder: str) -> None:
        """A record says which io-node holds this client, which is unconfirmed."""
        if sid in self._unconfirmed:
            self._unconfirmed[sid] = holder

    def give_up(self, is_gone: Callable[[str], bool], named: Iterable[str]) -> None:
        """The time is over, or it is complete. `is_gone(io_node)`: whether it looks dead. `named`: sids that were to
        answer, whatever io-nodes say: nobody knows of those that are still missing here."""
        for waiting in (self._asked, self._unconfirmed):  # they may be 100,000, of a few io-nodes
            gone = {holder for holder in set(waiting.values()) if holder is not None and is_gone(holder)}
            for sid, holder in waiting.items():
                self.missing.setdefault(sid, "node lost" if holder in gone else "timeout")
            waiting.clear()
        for sid in named:
            if sid not in self._answered and sid not in self.missing:
                self.missing[sid] = "disconnected"
        self._homes_due.clear()
        self._records_due.clear()

    # --- helpers

    def _miss(self, sid: str, why: Missing) -> None:
        self._asked.pop(sid, None)
        self._unconfirmed.pop(sid, None)
        self.missing.setdefault(sid, why)

    def _spoke(self, node: str, home: str) -> None:
        self._spoken.add((node, home))
        if node == home:
            self._homes_due.discard(home)
        for sid in [sid for sid, holder in self._unconfirmed.items() if holder == node and node_of(sid) == home]:
            self._miss(sid, "disconnected")  # it was not in when the question came to that io-node
