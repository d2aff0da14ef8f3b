"""`make bench`: this cluster and python-socketio side by side, with the same handlers and the same load, in one run.

May import `sio_stack` and `sio_cluster.testing`. `peer` and `cluster_app` are the applications under test.
"""
