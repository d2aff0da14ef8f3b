"""How long tests wait for what has no promised time."""

PROCESS_S = 100.0
"""For a process to start, answer or end. Alone it starts in a second, beside much other work in half a minute."""
