"""The process that runs the application. `get_client` returns its server object."""
