"""What Socket.IO's own server and clients do, and this cluster too. A package, so that its fixtures end with it."""
