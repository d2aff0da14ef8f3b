"""The dashboards: one module for each. They may import `observe.dashboard`, `observe.panels` and `observe.queries`."""

from observe.boards import app_nodes, bus, io_nodes, outside, overview
from observe.dashboard import Dashboard

BOARDS: tuple[Dashboard, ...] = (overview.BOARD, io_nodes.BOARD, app_nodes.BOARD, bus.BOARD, outside.BOARD)
