"""What a node shows to those who run it: logs, metrics and health.

May import: `node.settings`, `protocol`. Inside, `health` is above `metrics`. Only `health` imports FastAPI.
"""
