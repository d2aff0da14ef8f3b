"""The load: light clients in this process, over WebSocket or polling, which count and time what they receive."""
