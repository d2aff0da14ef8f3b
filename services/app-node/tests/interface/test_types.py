"""The types that we give python-socketio's classes say of each method what its code says."""

import ast
import inspect
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import socketio

import app_node
from app_node import ClusterServer, Emitter, Namespace
from app_node.interface import python_socketio
from sio_cluster.protocol.messages import Ack, Emit

STUB = ast.parse(Path(python_socketio.__file__).with_suffix(".pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
CHECKED = [("AsyncServer", socketio.AsyncServer), ("AsyncNamespace", socketio.AsyncNamespace)]


def names(kind: str) -> set[str]:
    """All that the stub says of a class."""
    of_stub = set()
    for node in CLASSES[kind].body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            of_stub.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            of_stub.add(node.target.id)
    return of_stub


def stated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[str, str]]:
    """The arguments that the stub says, with their defaults as source text."""
    arguments = node.args
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    found = [
        (argument.arg, "" if default is None else repr(ast.literal_eval(default)))
        for argument, default in zip(arguments.args, defaults, strict=True)
    ]
    return found + [(rest.arg, "") for rest in (arguments.vararg, arguments.kwarg) if rest is not None]


def real(function: Any) -> list[tuple[str, str]]:
    return [
        (parameter.name, "" if parameter.default is inspect.Parameter.empty else repr(parameter.default))
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(("name", "theirs"), CHECKED)
def test_every_public_name_has_a_type(name: str, theirs: Any) -> None:
    assert {one for one in dir(theirs()) if not one.startswith("_")} <= names(name)


@pytest.mark.parametrize(
    ("node", "theirs"),
    [
        pytest.param(node, theirs, id=f"{name}.{node.name}")
        for name, theirs in CHECKED
        for node in CLASSES[name].body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name != "__init__"
        and not node.decorator_list  # overloads say less than the whole
    ],
)
def test_each_method_is_typed_as_it_is(node: ast.FunctionDef | ast.AsyncFunctionDef, theirs: Any) -> None:
    method = getattr(theirs, node.name)
    assert stated(node) == real(method)
    assert isinstance(node, ast.AsyncFunctionDef) == inspect.iscoroutinefunction(method)


def test_a_namespace_is_one_of_python_socketio() -> None:
    assert issubclass(Namespace, socketio.AsyncNamespace)
    assert issubclass(ClusterServer, socketio.AsyncServer)


OF_NODES = {
    "application", "call_server", "config", "emit_server", "node", "on_server", "on_start", "serve", "start",
}  # fmt: skip
"""What is ours of a server object and concerns no clients."""


def test_a_namespace_has_what_the_server_has_besides() -> None:
    """Of what is ours, it has all that concerns clients, with the same arguments. And the questions that
    python-socketio's server answers, and its namespaces do not."""
    ours = {name for name in dir(ClusterServer) if not name.startswith("_")} - set(dir(socketio.AsyncServer)) - OF_NODES
    for name in {*ours, "emit", "transport", "get_environ"}:
        assert real(getattr(Namespace, name)) == real(getattr(ClusterServer, name)), name


@pytest.mark.parametrize("kind", [ClusterServer, Namespace, Emitter])
def test_what_a_method_returns_can_be_named(kind: type) -> None:
    """In an annotation of the application, by an import from app_node."""
    returned = {
        get_type_hints(method)["return"]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and method.__module__.startswith("app_node.interface")
    }
    named = {one for hint in returned for one in (hint, *get_args(hint)) if isinstance(one, type)}
    ours = {one.__name__: one for one in named if one.__module__.startswith("app_node")}
    assert len(ours) > 0
    assert ours == {name: getattr(app_node, name, None) for name in ours}
    assert set(ours) <= set(app_node.__all__)


async def test_a_namespace_speaks_of_its_own_clients(memory_stage: Any) -> None:
    sio = memory_stage.server()

    class Shop(Namespace):
        async def on_look(self, sid: str) -> list[Any]:
            await self.enter_rooms("lookers", room=sid)
            await self.emit("seen", room="lookers", except_room="sellers")
            found = [client.sid async for client in self.iter_clients("lookers")]
            page, one = await self.clients(), await self.client(sid)
            assert one is not None
            how = self.transport(sid), self.get_environ(sid) == one.environ
            return [found == [sid], len(page), await self.count(), await self.all_rooms(), one.namespace, *how]

    sio.register_namespace(Shop("/shop"))
    sio.on("look", lambda sid: None)
    io = await memory_stage.io_node()
    await sio.start()
    await io.connect()
    shopper = await io.connect("/shop")
    await io.event(shopper, "look", ack_id=7)
    await io.settle()
    [ack] = await io.wait(1, Ack)
    assert ack.packet == b'3/shop,7[[true,1,1,{"lookers":1},"/shop","polling",true]]'
    [emit] = await io.wait(1, Emit)
    assert (emit.namespace, emit.to, emit.except_rooms) == ("/shop", ["lookers"], ["sellers"])
