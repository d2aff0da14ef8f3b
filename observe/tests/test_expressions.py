"""The reader of expressions finds every name in them: the other tests rely on it."""

import pytest
from observe.tests.expressions import labels_of, metrics_of, selectors_of


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ("a_total", {"a_total"}, set()),
        ('sum by (job, x) (rate(a_total{y=~"b|c", z!="d(e)"}[5m]))', {"a_total"}, {"job", "x", "y", "z"}),
        ('{__name__=~"a|b"} == 0', {"a", "b"}, set()),
        ("a unless a offset 10m", {"a"}, set()),
        ("absent(a > 0) or vector(0)", {"a"}, set()),
        ("a:b < 0.9 * c unless on (instance) sum by (instance) (d) > 1e3", {"a:b", "c", "d"}, {"instance"}),
        ("histogram_quantile(0.99, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}, {"le"}),
    ],
)
def test_names(expression: str, metrics: set[str], labels: set[str]) -> None:
    assert metrics_of(expression) == metrics
    assert labels_of(expression) == labels


def test_selectors() -> None:
    assert selectors_of('sum(rate(a{b="c"}[5m])) > d') == ['a{b="c"}', "d"]
