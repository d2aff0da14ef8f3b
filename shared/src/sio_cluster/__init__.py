"""What both kinds of node agree on, and what both of them are. Upper packages import lower ones, never the other way:

    cli              the command `sio-cluster`, for people
    doctor           `sio-cluster doctor`: is a deployment sound?
    top              `sio-cluster top`: a running cluster at a glance
    testing          for tests only
    node             what every node is: settings, logs, retries, its place in the cluster
    streams          the bus: `api` declares it, `redis` and `memory` provide it
    protocol         messages, keys, ids, errors, and Socket.IO's packet grammar
    compiled         finds those modules that were compiled in that form. It must come before they are imported

May import: no service.
"""

from sio_cluster.compiled.form import install

install()
