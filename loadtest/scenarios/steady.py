"""Scenarios in which clients stay: fanout, chat, rpc, broadcast."""

from locust import tag, task

from loadtest.scenarios.browser_user import IDLE_S, BrowserUser


class FanoutUser(BrowserUser):
    """Sits in one room. The first members of each room publish at their rate, the others listen."""

    scenario = "fanout"

    def on_start(self) -> None:
        self.take_seat()

    def wait_time(self) -> float:
        return self.pace_of_seat()

    @tag("fanout")
    @task
    def talk(self) -> None:
        self.talk_from_seat()


class RampUser(BrowserUser):
    """As fanout; how often the publishers publish is told from outside, step by step."""

    scenario = "ramp"
    losses_allowed = True

    def on_start(self) -> None:
        self.take_seat()

    def wait_time(self) -> float:
        return self.pace_of_seat()

    @tag("ramp")
    @task
    def talk(self) -> None:
        self.talk_from_seat()


class BroadcastUser(BrowserUser):
    """All clients of the namespace hear those few who publish."""

    scenario = "broadcast"

    def on_start(self) -> None:
        self.connect()
        self.session.await_clock()

    def wait_time(self) -> float:
        return self.pace(self.session.settings.publish_rates[0]) if self._publishes else IDLE_S

    @tag("broadcast")
    @task
    def tell_all(self) -> None:
        if self._publishes:
            self.broadcast()

    @property
    def _publishes(self) -> bool:
        return self.number < self.session.settings.publishers


class RpcUser(BrowserUser):
    """Asks and waits for the answer, again and again."""

    scenario = "rpc"

    def wait_time(self) -> float:
        return self.pace(self.session.settings.publish_rates[0])

    @tag("rpc")
    @task
    def ask(self) -> None:
        if not self.session.hushed:
            self.call("echo", "x" * self.session.settings.payload_bytes)


class ChatUser(BrowserUser):
    """A person: in a room, types, talks, now and then goes to another room. Each hears itself, too."""

    scenario = "chat"

    def on_start(self) -> None:
        self.connect()
        self.session.await_clock()
        self.join(self.seat.room)

    def wait_time(self) -> float:
        return self.session.rng.uniform(0.5, 3.0)

    @tag("chat")
    @task(8)
    def type(self) -> None:
        """The notice `is typing`: as small as a message can be."""
        self.publish(self._room, size=1)

    @tag("chat")
    @task(4)
    def talk(self) -> None:
        self.publish(self._room)

    @tag("chat")
    @task(1)
    def move(self) -> None:
        """First into the room next door, then out of this one."""
        here = self._room
        if not self.session.hushed:
            self.join(here + 1 if here % 2 else here - 1)
            self.leave(here)

    @property
    def _room(self) -> int:
        return next(iter(self.rooms))
