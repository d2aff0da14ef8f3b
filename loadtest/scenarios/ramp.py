"""The scenario ramp: raises the rate step by step to find the highest one that the server holds."""

import time
from collections.abc import Callable
from typing import Any

import gevent
from locust import LoadTestShape

from loadtest.accounting.result import Knee, Step
from loadtest.accounting.run import Run, Stretch
from loadtest.scenarios.options import Settings, base_fan_out, base_rate

WARM_UP = 0.2
LEAST_SHARE = 0.9
LEAST_DELIVERED = 0.99
LATE_S = 3
WAIT_S = 0.2
FULL_S = 300.0


class Ramp:
    """One climb. `set_rate(factor)` makes all publishers so many times faster than their option says."""

    def __init__(self, settings: Settings, run: Run, set_rate: Callable[[float], None]) -> None:
        self.done = False
        self._settings = settings
        self._run = run
        self._set_rate = set_rate
        self._steps: list[Step] = []

    def climb(self, is_full: Callable[[], bool], users: Callable[[], int]) -> None:
        """Waits for all users, then climbs. Returns after the first step that does not hold, or after the last step.

        If users are still missing after FULL_S, it begins all the same; its first step does not hold and says why.
        """
        settings = self._settings
        waited = 0.0
        while not is_full() and waited < FULL_S:
            gevent.sleep(WAIT_S)
            waited += WAIT_S
        base = base_rate(settings, users())
        for number in range(settings.ramp_steps):
            rate = settings.ramp_start * settings.ramp_factor**number
            if not self._step(rate, base, users()):
                break
        self._set_rate(settings.ramp_start / base)  # so that queues can drain
        self.done = True

    def knee(self) -> Knee:
        held = [step for step in self._steps if step.held]
        best = held[-1] if held else None
        return Knee(
            limit_p99_ms=self._settings.ramp_p99_ms,
            steps=self._steps,
            rate=best.rate if best else None,
            deliveries_per_s=best.deliveries_per_s if best else 0.0,
            reached=bool(self._steps) and not self._steps[-1].held,
        )

    def _step(self, rate: float, base: float, users: int) -> bool:
        """One step. It is judged by whole seconds that every worker has reported, without the warm-up. Losses and
        disconnects of the warm-up count too."""
        settings, run = self._settings, self._run
        warm_up_s = max(1, round(settings.ramp_step_s * WARM_UP))
        lost, disconnects = run.gaps, run.disconnects
        self._set_rate(rate / base)
        gevent.sleep(warm_up_s + 1)
        begin = (run.last_second() or 0) + 1
        end = begin + settings.ramp_step_s - warm_up_s
        gevent.sleep(settings.ramp_step_s - warm_up_s)
        for _ in range(round(LATE_S / WAIT_S)):
            if (run.last_second() or 0) >= end - 1:
                break
            gevent.sleep(WAIT_S)
        stretch = run.stretch(begin, end)
        step = Step(
            rate=round(rate, 3),
            emits_per_s=round(stretch.emits / stretch.seconds, 1),
            deliveries_per_s=round(stretch.deliveries / stretch.seconds, 1),
            p99_ms=stretch.latency.p99_ms,
            lost=run.gaps - lost,
            held=False,
            clients=stretch.clients,
            disconnects=run.disconnects - disconnects,
        )
        step.why = self._why_not(step, users, stretch)
        step.held = not step.why
        self._steps.append(step)
        return step.held

    def _why_not(self, step: Step, users: int, stretch: Stretch) -> str:
        under_way = max(2.0, step.rate * self._settings.ramp_p99_ms / 1e3)  # emits that may arrive after the step
        due = LEAST_DELIVERED * base_fan_out(self._settings, users) * (stretch.emits - under_way)
        if step.disconnects:
            return f"{step.disconnects} connections were lost"
        if step.clients < users:
            return f"only {step.clients} of {users} clients were there"
        if step.lost > 0:
            return f"{step.lost} deliveries were lost"
        if not step.deliveries_per_s:
            return "nothing was delivered"
        if step.p99_ms > self._settings.ramp_p99_ms:
            return f"p99 was {step.p99_ms:.1f} ms, the limit is {self._settings.ramp_p99_ms:g} ms"
        if step.emits_per_s < LEAST_SHARE * step.rate:
            return f"only {step.emits_per_s:.0f} emits per second were sent: the load generator is too slow"
        if stretch.deliveries < due:
            return f"only {stretch.deliveries} of at least {due:.0f} deliveries came"
        return ""


class RampShape(LoadTestShape):
    """Keeps as many users as the options ask for, until the ramp or the run time is over."""

    use_common_options = True

    def __init__(self, environment: Any, ramp: Callable[[], Ramp | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # locust's
        self._environment = environment
        self._ramp = ramp

    def tick(self) -> tuple[int, float] | None:
        options = self._environment.parsed_options
        ramp = self._ramp()
        run_time = options.run_time
        elapsed_s = time.perf_counter() - self.start_time
        if (ramp is not None and ramp.done) or (run_time and elapsed_s >= float(run_time)):
            return None
        return options.num_users or 1, float(options.spawn_rate or 1)
