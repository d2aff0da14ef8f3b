"""What a PromQL expression names: metrics, and labels. It reads just what rules and dashboards here have."""

import re

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAMES = re.compile(r'__name__=~"([\w|]+)"')
_SELECTOR = re.compile(r"(?<![\w.])(?:(?:[a-zA-Z_:][\w:]*)?\{[^}]*\}|[a-zA-Z_:][\w:]*)")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_DURATION = re.compile(r"\[[^\]]*\]|\boffset \w+")
_OPERATORS = {"and", "or", "unless", "bool", "inf", "nan"}


def metrics_of(expression: str) -> set[str]:
    """The names of all metrics in it. `{__name__=~"a|b"}` names two."""
    listed = {name for found in _NAMES.findall(expression) for name in found.split("|")}
    return listed | {selector.partition("{")[0] for selector in selectors_of(expression)} - {""}


def labels_of(expression: str) -> set[str]:
    """The labels that it compares or groups by."""
    grouped = {label for _, labels in _GROUPING.findall(expression) for label in re.findall(r"\w+", labels)}
    braces = re.findall(r"\{([^}]*)\}", _STRING.sub('""', expression))
    return (grouped | {label for inside in braces for label in re.findall(r"(\w+)\s*[=!]", inside)}) - {"__name__"}


def selectors_of(expression: str) -> list[str]:
    """Its instant vectors, such as `sio_io_ready` and `up{job="io-node"}`: what needs data for it to have a result."""
    bare = _DURATION.sub("", _GROUPING.sub("", expression))
    found = []
    for match in _SELECTOR.finditer(bare):
        is_call = bare[match.end() :].lstrip().startswith("(")
        if not is_call and match.group() not in _OPERATORS:
            found.append(match.group())
    return found
