"""The row that each kind of node has: what its processes take of their machines."""

from observe.dashboard import Row
from observe.panels import Line, timeseries
from observe.queries import quantile, rate, total


def process_row(job: str, loop_lag: str) -> Row:
    """`loop_lag`: the histogram of this kind of node."""
    nodes = f'job="{job}", instance=~"$instance"'
    return Row(
        "Processes",
        [
            timeseries(
                "CPU",
                [Line(rate("process_cpu_seconds_total", nodes, "instance"), "{{instance}}")],
                "percentunit",
                "A node uses hardly more than one core: add nodes when it comes near 100 %.",
            ),
            timeseries(
                "Memory",
                [Line(total("process_resident_memory_bytes", nodes, "instance"), "{{instance}}")],
                "bytes",
            ),
            timeseries(
                "Files and sockets open",
                [
                    Line(total("process_open_fds", nodes, "instance"), "{{instance}}"),
                    Line(f"min(process_max_fds{{{nodes}}})", "limit"),
                ],
                "short",
            ),
            timeseries(
                "Event loop: late by",
                [Line(quantile(0.99, loop_lag, nodes, "instance"), "{{instance}}, 99 %")],
                "s",
                "Something blocks the loop, or the machine has too little CPU.",
            ),
            timeseries(
                "Collections of garbage",
                [Line(rate("python_gc_collections_total", nodes, "generation"), "generation {{generation}}")],
                "cps",
            ),
            timeseries(
                "Releases",
                [
                    Line(
                        f"count by (version, python, compiled) (sio_build_info{{{nodes}}})",
                        "{{version}} on Python {{python}}, compiled: {{compiled}}",
                    )
                ],
                "short",
                "How many nodes run each release, and whether their hot modules are compiled.",
            ),
        ],
    )
