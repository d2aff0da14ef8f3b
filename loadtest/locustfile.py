"""The scenarios, for locust: `locust -f loadtest/locustfile.py --scenario fanout --host http://localhost:8080`."""

from loadtest.scenarios import install
from loadtest.scenarios.steady import BroadcastUser, ChatUser, FanoutUser, RampUser, RpcUser
from loadtest.scenarios.upheaval import ChurnUser, ReconnectStormUser, SlowConsumersUser

__all__ = [
    "BroadcastUser",
    "ChatUser",
    "ChurnUser",
    "FanoutUser",
    "RampUser",
    "ReconnectStormUser",
    "RpcUser",
    "SlowConsumersUser",
]

install()
