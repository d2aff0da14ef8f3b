"""Scenarios in which clients stay connected: fanout, ramp, broadcast, rpc, chat."""

from locust import tag, task

from loadtest.scenarios.browser_user import IDLE_S, BrowserUser


class FanoutUser(BrowserUser):
    """Each user sits in one room. The first members of a room publish at their rate, the others listen."""

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
    """As fanout, but `Ramp` sets the rate of the publishers, step by step."""

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
    """A few users publish to all clients of the namespace."""

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
    """Each user sends an acked event and waits for the ack before it sends the next one."""

    scenario = "rpc"

    def wait_time(self) -> float:
        return self.pace(self.session.settings.publish_rates[0])

    @tag("rpc")
    @task
    def ask(self) -> None:
        if not self.session.hushed:
            self.call("echo", "x" * self.session.settings.payload_bytes)


class ChatUser(BrowserUser):
    """Each user is in a room, types, talks, and now and then moves to another room. It receives its own messages."""

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
        """Sends the notice `is typing`, which is as small as a message can be."""
        self.publish(self._room, size=1)

    @tag("chat")
    @task(4)
    def talk(self) -> None:
        self.publish(self._room)

    @tag("chat")
    @task(1)
    def move(self) -> None:
        """Joins the room next door, then leaves this one."""
        here = self._room
        if not self.session.hushed:
            self.join(here + 1 if here % 2 else here - 1)
            self.leave(here)

    @property
    def _room(self) -> int:
        return next(iter(self.rooms))
