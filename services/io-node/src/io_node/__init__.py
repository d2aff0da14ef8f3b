"""The process that owns client connections. `listen` attaches it to any ASGI application."""
