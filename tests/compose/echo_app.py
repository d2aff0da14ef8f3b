"""What the clients of the Compose tests talk to."""

import os

import app_node

sio = app_node.get_client()


@sio.event
async def connect(sid, environ):
    await sio.enter_room(sid, "everyone")


@sio.event
async def echo(sid, number):
    """Answers with the container that ran it, so that a client sees which app-node served it."""
    return number, os.uname().nodename


@sio.event
async def shout(sid, text):
    await sio.emit("shouted", text, room="everyone")
