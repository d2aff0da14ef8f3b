"""What users import: python-socketio's `AsyncServer`, with its connections on io-nodes.

May import all of app_node except for `cli`, `commands` and `api`. The only folder that imports socketio (`api.desk` and
`commands` know its errors); its `serving` is the only module of app_node that imports uvicorn.
"""
