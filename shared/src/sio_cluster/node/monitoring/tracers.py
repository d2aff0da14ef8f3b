"""Opens the tracer of a node. Without TRACE_RATIO there is none, and nothing of OpenTelemetry's SDK is imported.

`otel` beside it is the only module of ours that imports OpenTelemetry. FastAPI imports its API.
"""

from structlog.typing import Processor

from sio_cluster.node.monitoring.tracing import Tracer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError


def open_tracer(config: Config, role: str, node_id: str, *, ratio: float) -> Tracer | None:
    """What makes the spans of this node. None without TRACE_RATIO.

    `role` is the service's name, unless OTEL_SERVICE_NAME has another. `ratio`: of how many traces that begin here the
    spans are recorded. Raises ConfigError where packages are missing, or OpenTelemetry does not understand its own
    settings.
    """
    if not config.trace_ratio:
        return None
    try:
        from sio_cluster.node.monitoring.otel import make_tracer  # reads some of its settings

        return make_tracer(role, node_id, ratio)
    except ImportError as error:
        raise _missing(error) from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"OTEL_*: {error}") from error
    except StopIteration as error:  # its way to say that there is no component of this name
        raise ConfigError("OTEL_PYTHON_*: no installed package has what one of these names") from error


def ids_for_logs(config: Config) -> list[Processor]:
    """Adds `trace_id` and `span_id` to the log lines of a task that has a current span. Nothing without TRACE_RATIO.

    Raises ConfigError as `open_tracer`.
    """
    if not config.trace_ratio:
        return []
    try:
        from sio_cluster.node.monitoring.otel import add_ids
    except ImportError as error:
        raise _missing(error) from error
    except ValueError as error:
        raise ConfigError(f"OTEL_*: {error}") from error
    return [add_ids]


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"TRACE_RATIO: {error.name} is not installed. `pip install sio-cluster-shared[trace]` brings it")
