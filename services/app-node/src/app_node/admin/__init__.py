"""What Socket.IO's Admin UI asks of a server (`sio.instrument`), for the whole cluster.

    console         joins the parts; registers the handlers of the admin namespace
    rounds          looks who watches, tells the nodes' figures and the newest clients
    newest_clients  reads the clients that connected last, and which namespaces there are
    doorway         lets administrators in
    tasks           does what they ask
    feed            tells them what clients do, as it happens
    credentials     who may come in: pure
    guesses         how often somebody may show what is wrong: pure
    sockets         a client as the page wants it, without secrets: pure
    differences     what happened to clients between two looks: pure
    stats           a node as the page wants it: pure
    server          what the parts need of the server object

While nobody watches, one app-node asks Redis every two seconds whether somebody does; in development mode each does.

May import: `app_node.app` and what is below it, `sio_cluster`.
"""
