"""What an app-node counts. `metrics.py` exports it; docs/reliability.md has the equations that must hold.

Each fact that was read from a lane ends with exactly one `Outcome`. Its `end` says what became of it (handled, refused
or abandoned), its `label` which kind or for which reason:

    counters.outcomes[EVENT_HANDLED] += 1
"""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Literal

from app_node.durations import Durations


@dataclass(frozen=True, slots=True, eq=False)  # without `eq` the hash is the object's own, which is quick
class Outcome:
    """How the handling of one fact ended. Compared by identity: use the constants below."""

    end: Literal["handled", "refused", "abandoned"]
    label: str


EVENT_HANDLED = Outcome("handled", "event")
"""Its handler ran, and returned or raised."""
EVENT_UNHANDLED = Outcome("handled", "unhandled_event")
"""The application has no handler for this event."""
CLIENT_CONNECTED = Outcome("handled", "connected")
CLIENT_UPGRADED = Outcome("handled", "upgraded")
ROOM_CHANGED = Outcome("handled", "room")
CLIENT_DISCONNECTED = Outcome("handled", "disconnected")

FOREIGN_SID = Outcome("refused", "foreign_sid")
"""The fact's sid is none that an io-node gives."""
UNKNOWN_CLIENT = Outcome("refused", "unknown_client")
"""An event of a client that was refused, has left, or has no record."""
STALE_CONNECT = Outcome("refused", "stale_connect")
"""A connect of a client that has left meanwhile, or has connected anew since."""
STALE_DISCONNECT = Outcome("refused", "stale_disconnect")
"""A client's connection has ended, and the client has a newer one."""
STALE_UPGRADE = Outcome("refused", "stale_upgrade")
"""A client's connection has moved to another transport, and the client has a newer one."""
RESERVED_EVENT = Outcome("refused", "reserved_event")
"""A client sent an event called `connect`, `disconnect` or the like."""
MALFORMED_EVENT = Outcome("refused", "malformed_event")
"""The event's payload cannot be decoded."""
MISPLACED_ACK = Outcome("refused", "misplaced_ack")
"""An answer came through a lane. It belongs into the inbox of the app-node that asked."""
DEFECT = Outcome("refused", "defect")
"""This app-node's own code failed. The log has the traceback."""

SET_ASIDE = Outcome("refused", "set_aside")
"""It was taken over unfinished three times. It is a dead letter now."""

LANE_LOST = Outcome("abandoned", "lane_lost")
"""The lane is no longer ours: its next holder handles the fact."""
QUARANTINED = Outcome("abandoned", "quarantined")
"""It waited for an earlier fact of its client, which is in quarantine, and followed it there."""

OUTCOMES: tuple[Outcome, ...] = tuple(value for value in globals().values() if isinstance(value, Outcome))
"""All of the above. `/metrics` has each of them from the start."""


@dataclass(slots=True)
class Counters:
    """Counts since this app-node began. All of them only rise."""

    durations: Durations = field(default_factory=Durations)

    facts_read: int = 0
    """Facts that were read from lanes for the first time."""
    facts_read_again: int = 0
    """Facts that another holder of the lane had been given before."""
    facts_done_before: int = 0
    """Facts of such entries that are not handled again, since that holder had noted that they are done."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """How the facts that were read have ended."""
    handlers_failed: int = 0
    """Handlers of the application that raised."""
    handlers_blocked: int = 0
    """How often the event loop stood still for HANDLER_BLOCK_MS."""
    entries_committed: int = 0
    """Lane entries that are done, and were removed from their lane."""
    entries_malformed: int = 0
    """Lane entries that could not be decoded."""
    dead_letters: int = 0
    """Lane entries that were moved to their lane's dead letters."""
    dead_letters_lost: int = 0
    """The oldest dead letters, which were deleted since their lane had too many."""
    facts_quarantined: int = 0
    """Facts that were moved into the quarantine of their lane."""
    waits_for_handlers: int = 0
    """How often reading paused since MAX_INFLIGHT_BYTES were in work."""

    commands_written: int = 0
    """Commands that Redis has."""
    commands_for_nobody: int = 0
    """Commands that Redis did not take: they are for rooms in which that home has no members."""
    commands_dropped: Counter[str] = field(default_factory=Counter)
    """Commands that were given up, by reason: `lane_lost`, `node_gone`, `taken_back`."""
    appends_barred: int = 0
    """Appends that Redis refused since another app-node had taken one of our lanes over."""
    inbox_full: int = 0
    """Appends that Redis refused since the io-node's inbox was full."""
    recipients_gone: int = 0
    """Commands for one client whose io-node is gone. They go to no inbox."""
    redis_retries: Counter[str] = field(default_factory=Counter)
    """Operations on Redis that failed and were tried again, by operation."""

    lanes_lost: int = 0
    """Lanes whose lease ran out, or was taken over."""
    holders_barred: int = 0
    """Former holders of our lanes whose late appends Redis refuses now."""
    records_fenced: int = 0
    """Changes of client records that Redis refused since the lane is another's now."""
    io_nodes_lost: int = 0
    """Io-nodes that died, and whose clients this app-node disconnected."""
    reaper_facts_written: int = 0
    """Disconnects of such clients that were written to lanes, and of those that have not come back in time."""
    parked_entries_forgotten: int = 0
    """Entries that were removed from the logs of parked homes, since they were too old or too many."""
    parked_entries_malformed: int = 0
    """Of these, how often some could not be decoded: no client of that home can come back then."""

    clients_accepted: int = 0
    """Clients that the application let in."""
    clients_recovered: int = 0
    """Those among them that have claimed their session back."""
    clients_refused: int = 0
    """Clients that the application turned away."""
    clients_restored: int = 0
    """Clients that were brought back from their record."""
    clients_disconnected: int = 0
    """Clients whose disconnect was handled."""
    disconnects_implied: int = 0
    """Those among them that were handled since the client has connected anew: nobody had said yet that it was gone."""
    presence_news: int = 0
    """Metas that came or went, of which their rooms were told."""
    rooms_corrected: int = 0
    """Rooms of a client of which its io-node and its record said different things, and the io-node was told."""
    acks_received: int = 0
    """Answers of clients that reached their callback."""
    acks_refused: Counter[str] = field(default_factory=Counter)
    """Answers of clients that reached none, by reason: `unknown`, `malformed`."""
    acks_missed: int = 0
    """Questions to one client that will not be answered: it is gone. A call fails then, a callback is forgotten."""
    callbacks_failed: int = 0
    """Callbacks of the application that raised."""
    callbacks_given_up: int = 0
    """Callbacks that were dropped since too many waited."""
    calls_refused: int = 0
    """Calls that failed at once, since too many waited for the same client."""
    server_events: Counter[str] = field(default_factory=Counter)
    """Events of app-nodes that came here, by what became of them: `handled`, `failed`, `unhandled`, `refused`."""
    answers_too_large: int = 0
    """Questions to many, or to app-nodes, that failed, since the answers that nobody had taken weighed too much."""
    inbox_entries_malformed: int = 0
    """Entries of our own inbox that could not be decoded."""

    def ended(self, end: str) -> dict[str, int]:
        """How many facts came to this end, by label."""
        return {outcome.label: number for outcome, number in self.outcomes.items() if outcome.end == end}

    def totals(self) -> dict[str, int]:
        """Every count that is not nought, for a log line. Families are summed up: `commands_dropped=3`."""
        ends = {f"facts_{end}": sum(self.ended(end).values()) for end in ("handled", "refused", "abandoned")}
        counts = {
            one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("durations", "outcomes")
        }
        summed = {name: count.total() if isinstance(count, Counter) else count for name, count in counts.items()}
        return {name: number for name, number in (ends | summed).items() if number}
