"""`sio-cluster doctor`: is a deployment sound? Each check makes a finding: what is so, what follows, what to do.

    examining        asks Redis, the cluster and this process, and joins the findings
    server           findings about the Redis server
    cluster          findings about lanes and nodes
    process          findings about this process
    finding          what a finding is, and how it is shown

The modules in the middle are pure: facts in, findings out.

May import: `sio_cluster.node.settings`, `sio_cluster.streams`, `sio_cluster.protocol`.
"""
