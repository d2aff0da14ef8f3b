"""Lane entries that are done, on their way out of their lanes.

They go with what the outbox flushes: an entry whose last output is in a flush leaves its lane in the same atomic step
(`streams.api.appends.Flusher.flush`). So if this process dies, the next holder handles the entry again, or its output
is there: not both.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from app_node.counters import Counters
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from sio_cluster.streams.api.appends import COMMIT_IDS, Commit
from sio_cluster.streams.api.leases import Lease

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class LaneCommit:
    """What one flush commits of one lane: entries that are done, those that are done once the flush is, and notes of
    those that are then done in part: the numbers of their facts that are."""

    lane: Lane
    done: list[EntryProgress] = field(default_factory=list)
    ending: list[EntryProgress] = field(default_factory=list)
    notes: list[tuple[EntryProgress, list[int]]] = field(default_factory=list)

    def request(self) -> Commit:
        entries = [*self.done, *self.ending]
        return Commit(
            self.lane.lease,
            [entry.entry_id for entry in entries],
            sum([entry.size for entry in entries]),
            [(entry.entry_id, numbers) for entry, numbers in self.notes],
            [entry.entry_id for entry in entries if entry.noted],
        )


class Commits:
    """Takes entries with `put`. `on_put` is called each time; `on_lost` with each lane whose lease is found lost."""

    def __init__(self, counters: Counters, *, on_lost: Callable[[Lane], None]) -> None:
        self._counters = counters
        self._on_lost = on_lost
        self.on_put: Callable[[], None] = lambda: None
        self._waiting: dict[Lane, list[EntryProgress]] = {}

    def __bool__(self) -> bool:
        """Whether an entry waits that is done."""
        return bool(self._waiting)

    def put(self, progress: EntryProgress) -> None:
        """An entry is done. Nothing happens where its lane is lost: the next holder has it."""
        lane = progress.lane
        if progress.committed:
            self._leave(lane, [progress])
        elif lane.held():
            self._waiting.setdefault(lane, []).append(progress)
            self.on_put()

    def take(self, flushed_batches: Iterable[list[EntryProgress]]) -> list[LaneCommit]:
        """What may be committed together with a flush. Give it back with `carried_out`, `put_off` or `lost`.

        `flushed_batches`: for each batch of commands in it, the entries that wait for the batch.
        """
        commits: dict[Lane, LaneCommit] = {}
        for lane, entries in list(self._waiting.items()):
            if lane.held():
                commits[lane] = LaneCommit(lane, done=entries[:COMMIT_IDS])
            if lane.held() and len(entries) > COMMIT_IDS:
                self._waiting[lane] = entries[COMMIT_IDS:]
            else:
                del self._waiting[lane]
        steps: dict[EntryProgress, int] = {}
        for entries in flushed_batches:
            for progress in entries:
                steps[progress] = steps.get(progress, 0) + 1
        for progress, number in steps.items():
            is_ending = progress.ends_after(number)
            ended = [] if is_ending else progress.ended_after(number)
            if not (is_ending or ended) or not progress.lane.held():
                continue
            commit = commits.setdefault(progress.lane, LaneCommit(progress.lane))
            if len(commit.done) + len(commit.ending) + len(commit.notes) == COMMIT_IDS:
                continue
            if is_ending:
                commit.ending.append(progress)
            else:
                commit.notes.append((progress, ended))
                progress.noted = True
        return list(commits.values())

    def carried_out(self, commits: Iterable[LaneCommit]) -> None:
        """Redis has committed these. Call it before the batches of the flush end."""
        for commit in commits:
            for progress in commit.ending:
                progress.committed = True
            for progress, numbers in commit.notes:
                del progress.ended[: len(numbers)]
            self._leave(commit.lane, commit.done)

    def put_off(self, commits: Iterable[LaneCommit]) -> None:
        """These were not committed, as far as we know."""
        for commit in commits:
            if commit.done:
                self._waiting[commit.lane] = [*commit.done, *self._waiting.get(commit.lane, ())]

    def lost(self, commits: Iterable[LaneCommit], leases: Iterable[Lease]) -> None:
        """These were not committed, because some of their leases are lost."""
        gone = set(leases)
        self.put_off([commit for commit in commits if commit.lane.lease not in gone])
        for commit in commits:
            if commit.lane.lease in gone:
                self._on_lost(commit.lane)

    def _leave(self, lane: Lane, entries: list[EntryProgress]) -> None:
        self._counters.entries_committed += len(entries)
        lane.committed([progress.entry_id for progress in entries])
