"""Socket.IO: packets, namespaces, rooms. Knows nothing of HTTP, sockets or Redis."""
