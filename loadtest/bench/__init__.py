"""The side-by-side benchmark: this cluster beside python-socketio, same handlers, same load, one run."""
