"""The io-node's ends of the bus: facts out (uplink), commands in (downlink), and proof that both work (heartbeat)."""
