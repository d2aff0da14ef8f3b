"""The Compose profile `observe` and the files that it mounts agree, and nobody but this machine can reach it."""

import re
from typing import Any

import pytest
from observe.tests.rule_files import FOLDER, content
from tests.conftest import ROOT

COMPOSE: dict[str, Any] = content(ROOT / "docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
PROMETHEUS: dict[str, Any] = content(FOLDER / "prometheus.yml")
PROFILE = ("prometheus", "grafana")


def mounts(name: str) -> dict[str, str]:
    """Where in the container each folder of this repository is."""
    volumes = [volume.split(":") for volume in SERVICES[name]["volumes"]]
    return {target: source for source, target, *_ in volumes if source.startswith(".")}


def test_the_profile_has_just_these() -> None:
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["observe"]} == set(PROFILE)


@pytest.mark.parametrize("name", PROFILE)
def test_only_this_machine_can_reach_it(name: str) -> None:
    [port] = SERVICES[name]["ports"]
    assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-(\d+)\}:\1", port)


@pytest.mark.parametrize("name", PROFILE)
def test_its_image_has_a_version(name: str) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", PROFILE)
def test_it_cannot_change_the_files_that_it_mounts(name: str) -> None:
    assert all(volume.endswith(":ro") for volume in SERVICES[name]["volumes"] if volume.startswith("."))
    assert all((ROOT / source).is_dir() for source in mounts(name).values())
    assert SERVICES[name]["read_only"]


def test_grafana_reaches_prometheus_and_nothing_else() -> None:
    shared = set(SERVICES["grafana"]["networks"])
    assert {name for name, service in SERVICES.items() if shared & set(service["networks"])} == set(PROFILE)


def test_nobody_can_log_in_to_grafana() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    for name in ("AUTH_DISABLE_LOGIN_FORM", "SECURITY_DISABLE_INITIAL_ADMIN_CREATION", "AUTH_ANONYMOUS_ENABLED"):
        assert environment[f"GF_{name}"] == "true"


@pytest.mark.parametrize("job", PROMETHEUS["scrape_configs"], ids=lambda job: job["job_name"])
def test_a_job_asks_for_a_service_in_its_network_on_the_port_of_its_metrics(job: dict[str, Any]) -> None:
    name = job["job_name"]
    [found] = job["dns_sd_configs"]
    assert (found["names"], found["type"], found["port"]) == ([name], "A", _port(name))
    assert set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])


def _port(name: str) -> int:
    """Of /metrics: what Compose sets, or else the image."""
    service = SERVICES[name]
    given = {**COMPOSE["x-settings"], **service["environment"]}
    text = (ROOT / service["build"]["dockerfile"]).read_text()
    for setting in ("API_PORT", "HEALTH_PORT", "HTTP_PORT", "LOCUST_WEB_PORT"):
        if setting in given:
            return int(given[setting])
        if found := re.search(rf"\b{setting}=(\d+)", text):
            return int(found[1])
    raise AssertionError(f"{name} has no port")


def test_a_load_test_without_web_interface_has_its_metrics_on_the_same_port() -> None:
    environment = SERVICES["loadtest-master"]["environment"]
    assert environment["LOADTEST_METRICS_PORT"] == environment["LOCUST_WEB_PORT"]
    assert "LOCUST_WEB_HOST" not in environment, "all addresses"


def test_prometheus_finds_its_files() -> None:
    [target] = mounts("prometheus")
    assert f"--config.file={target}/prometheus.yml" in SERVICES["prometheus"]["command"]
    assert PROMETHEUS["rule_files"] == [f"{target}/rules/*.yml"]


def test_grafana_finds_its_files() -> None:
    folders = mounts("grafana")
    assert folders["/etc/grafana/provisioning"] == "./observe/grafana/provisioning"
    provisioning = ROOT / folders["/etc/grafana/provisioning"]
    [provider] = content(provisioning / "dashboards/cluster.yml")["providers"]
    dashboards = provider["options"]["path"]
    assert folders[dashboards] == "./observe/grafana/dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / folders[dashboards] / home.removeprefix(f"{dashboards}/")).is_file()
    [source] = content(provisioning / "datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
