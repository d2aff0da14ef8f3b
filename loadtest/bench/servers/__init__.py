"""The applications under test, each a program of its own. All have the handlers of `handlers.py`."""
