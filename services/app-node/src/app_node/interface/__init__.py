"""What users import: python-socketio's `AsyncServer`, with its connections on io-nodes.

May import all of app_node except for `app_node.cli`. The only folder that imports socketio; its `serving` is the only
module of app_node that imports FastAPI and uvicorn.
"""
