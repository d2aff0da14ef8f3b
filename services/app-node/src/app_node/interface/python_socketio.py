"""python-socketio's classes, from which ours inherit.

It says no types. Those that users of this package see stand in the stub beside this module.
"""

from socketio import AsyncNamespace, AsyncServer

__all__ = ["AsyncNamespace", "AsyncServer"]
