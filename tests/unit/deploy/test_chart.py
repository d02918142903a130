"""The Helm chart, as Helm renders it: what each process may do, how it scales, and what must be given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from freshet.settings import Settings

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "chart"
EVERYTHING = ("--values", str(CHART / "ci-values.yaml"))
WORKERS = ("catalog", "index", "profiles")
SERVICES = ("recommend", "ingest")
KUBERNETES = "1.33.0"


def program(name: str) -> str:
    found = shutil.which(name, path=f"{ROOT / '.freshet' / 'tools'}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"no {name} here (`make tools` builds it with Go)")
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("helm"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@cache
def rendered(*arguments: str) -> str:
    done = helm("template", "freshet", str(CHART), "--namespace", "shop", "--kube-version", KUBERNETES, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Everything switched on, by kind and name."""
    found = [each for each in yaml.safe_load_all(rendered(*EVERYTHING)) if each]
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(by_name) == len(found)
    return by_name


Objects = Mapping[tuple[str, str], dict[str, Any]]


def pod_of(objects: Objects, component: str) -> dict[str, Any]:
    pod: dict[str, Any] = objects["Deployment", f"freshet-{component}"]["spec"]["template"]["spec"]
    return pod


def test_helm_finds_nothing_wrong() -> None:
    done = helm("lint", "--strict", str(CHART), *EVERYTHING)
    assert done.returncode == 0, done.stdout + done.stderr


OPERATORS = frozenset({"kafka.strimzi.io", "keda.sh", "milvus.io", "monitoring.coreos.com", "postgresql.cnpg.io"})
"""Whose resources have schemas of their own, which Kubernetes' do not hold."""


def test_kubernetes_schemas_hold(objects: Objects) -> None:
    checked = set()
    for (kind, name), each in objects.items():
        if each["apiVersion"].partition("/")[0] in OPERATORS:
            continue
        try:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{kind} {name}: {error}")
        checked.add(kind)
    assert checked == {
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }


def test_the_alerts_and_dashboards_are_those_that_are_tested(objects: Objects) -> None:
    rules = objects["PrometheusRule", "freshet"]
    assert rules["spec"] == yaml.safe_load((ROOT / "deploy" / "prometheus" / "freshet.rules.yml").read_text())
    assert rules["metadata"]["labels"]["release"] == "monitoring"
    for name in ("lag", "serving"):
        held = objects["ConfigMap", f"freshet-dashboard-{name}"]
        assert held["metadata"]["labels"]["grafana_dashboard"] == "1"
        shown = json.loads(held["data"][f"freshet-{name}.json"])
        assert shown == json.loads((ROOT / "deploy" / "grafana" / f"{name}.json").read_text())


def test_a_wrong_field_is_told() -> None:
    """The schemas are there, and strict."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}, "automount": False}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(account, KUBERNETES, strict=True)


def test_what_the_operators_bring_has_the_names_that_freshet_asks(objects: Objects) -> None:
    """An operator names its services by its resource: Milvus NAME-milvus, Strimzi NAME-kafka-bootstrap."""
    (container,) = pod_of(objects, "recommend")["containers"]
    asked = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    milvus, kafka = objects["Milvus", "freshet"], objects["Kafka", "freshet"]
    assert asked["FRESHET_INDEX_URL"] == f"milvus://{milvus['metadata']['name']}-milvus:19530"
    bootstrap = f"{kafka['metadata']['name']}-kafka-bootstrap.shop.svc:9092"
    assert asked["FRESHET_KAFKA_URL"] == f"kafka://{bootstrap}"
    for component in WORKERS:
        for trigger in objects["ScaledObject", f"freshet-{component}"]["spec"]["triggers"]:
            assert trigger["metadata"]["bootstrapServers"] == bootstrap, "KEDA asks from a namespace of its own"


def test_milvus_keeps_its_message_log(objects: Objects) -> None:
    kept = objects["Milvus", "freshet"]["spec"]["dependencies"]["rocksmq"]["persistence"]
    assert kept["enabled"] is True
    assert kept["persistentVolumeClaim"]["spec"]["resources"]["requests"]["storage"]


def test_the_console_finds_every_process_and_is_let_in(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = pod_of(objects, "console")["containers"]
    asked = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert asked.pop("FRESHET_CONSOLE__TOKEN") is None, "the token comes from a Secret"
    for name, value in asked.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.console.names == ("console.shop.example",)
    assert set(settings.console.metrics) == {*WORKERS, "recommend"}
    places = [*settings.console.metrics.values(), f"{settings.recommend.host}:7070", f"{settings.ingest.host}:7071"]
    egress = [port for rule in objects["NetworkPolicy", "freshet-console"]["spec"]["egress"] for port in rule["ports"]]
    for place in places:
        name, _, port = place.partition(":")
        assert int(port) in [each["port"] for each in objects["Service", name]["spec"]["ports"]]
        assert {"protocol": "TCP", "port": int(port)} in egress
        let_in = [
            each["port"]
            for rule in objects["NetworkPolicy", name]["spec"]["ingress"]
            for each in rule["ports"]
            for peer in rule["from"]
            if peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component") == "console"
        ]
        assert int(port) in let_in


@pytest.mark.parametrize("component", [*WORKERS, *SERVICES])
def test_a_process_that_hangs_is_started_again(objects: Objects, component: str) -> None:
    (container,) = pod_of(objects, component)["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


@pytest.mark.parametrize("component", [*WORKERS, *SERVICES, "triton", "console"])
def test_a_pod_may_do_no_more_than_it_must(objects: Objects, component: str) -> None:
    pod = pod_of(objects, component)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert {"startupProbe", "livenessProbe"} <= set(container)
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert mounts["/models"]["readOnly"] is True
        assert "/tmp" in mounts


@pytest.mark.parametrize("component", [*WORKERS, *SERVICES, "triton"])
def test_selectors_budgets_and_policies_meet_their_pods(objects: Objects, component: str) -> None:
    labels = objects["Deployment", f"freshet-{component}"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        objects["Deployment", f"freshet-{component}"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget", f"freshet-{component}"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", f"freshet-{component}"]["spec"]["podSelector"]["matchLabels"],
    ]
    if component not in WORKERS:
        selectors.append(objects["Service", f"freshet-{component}"]["spec"]["selector"])
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert selector["app.kubernetes.io/component"] == component


def test_what_reads_products_and_queries_reaches_triton_and_nothing_else_does(objects: Objects) -> None:
    (callers,) = [
        rule["from"] for rule in objects["NetworkPolicy", "freshet-triton"]["spec"]["ingress"]
        if rule["ports"] == [{"protocol": "TCP", "port": 8001}]
    ]  # fmt: skip
    named = {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in callers}
    assert named == {"catalog", "recommend", "console"}
    for component in (*WORKERS, *SERVICES, "console"):
        egress = objects["NetworkPolicy", f"freshet-{component}"]["spec"]["egress"]
        reached = {"protocol": "TCP", "port": 8001} in [port for rule in egress for port in rule["ports"]]
        assert reached == (component in named), component


@pytest.mark.parametrize("component", WORKERS)
def test_a_worker_scales_by_its_own_lag_up_to_one_for_each_partition(objects: Objects, component: str) -> None:
    from freshet.settings import Topics
    from freshet.stream.lag import worker_topics

    scaled = objects["ScaledObject", f"freshet-{component}"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == f"freshet-{component}"
    triggers = [trigger["metadata"] for trigger in scaled["triggers"]]
    assert {trigger["topic"] for trigger in triggers} == set(worker_topics(Topics())[component])
    assert {trigger["consumerGroup"] for trigger in triggers} == {f"freshet-{component}"}
    assert scaled["maxReplicaCount"] <= 12
    assert "replicas" not in objects["Deployment", f"freshet-{component}"]["spec"], "KEDA and the chart would fight"


@pytest.mark.parametrize("component", [*WORKERS, *SERVICES])
def test_a_process_gets_settings_that_exist_and_only_what_it_needs(objects: Objects, component: str) -> None:
    (container,) = pod_of(objects, component)["containers"]
    variables = {entry["name"]: entry for entry in container["env"]}
    assert {name.removeprefix("FRESHET_").split("__")[0].lower() for name in variables} <= set(Settings.model_fields)
    assert container["args"] == [component]
    assert "FRESHET_OTLP_ENDPOINT" in variables
    if component == "ingest":
        assert "FRESHET_DATABASE_URL" not in variables
    else:
        assert variables["FRESHET_DATABASE_URL"]["valueFrom"]["secretKeyRef"] == {
            "name": "freshet-db-app",
            "key": "uri",
        }


def test_triton_asks_for_a_gpu(objects: Objects) -> None:
    (container,) = pod_of(objects, "triton")["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_only_the_catalogue_worker_reaches_the_internet_and_no_private_network_there(objects: Objects) -> None:
    outside = {
        name: [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", ()) if "ipBlock" in to]
        for (kind, name), policy in objects.items()
        if kind == "NetworkPolicy"
    }
    (block,) = outside.pop("freshet-catalog")
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(block["except"])
    assert not any(outside.values())


def test_recommend_fetches_pictures_to_search_by_only_when_it_is_allowed_to() -> None:
    parts = yaml.safe_load_all(rendered(*EVERYTHING, "--set", "networkPolicy.pictures.searches=true"))
    (policy,) = [
        part for part in parts
        if part and part["kind"] == "NetworkPolicy" and part["metadata"]["name"] == "freshet-recommend"
    ]  # fmt: skip
    blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", ()) if "ipBlock" in to]
    assert {"10.0.0.0/8", "192.168.0.0/16", "169.254.0.0/16"} <= set(blocks[0]["except"])


def test_the_operators_resources_are_there_when_asked_for_and_absent_otherwise(objects: Objects) -> None:
    theirs = {"Kafka", "KafkaNodePool", "Cluster", "Milvus", "PodMonitor", "PrometheusRule"}
    assert theirs <= {kind for kind, _ in objects}
    own = (
        "--set", "images.worker=w,images.recommend=r,model.volume.emptyDir.medium=", "--set",
        "kafka.bootstrapServers=k:9092,index.url=milvus://m:19530,database.existingSecret=s,keda.enabled=false",
    )  # fmt: skip
    plain = [each for each in yaml.safe_load_all(rendered(*own)) if each]
    assert not (theirs | {"ScaledObject", "ConfigMap"}) & {each["kind"] for each in plain}
    workers = [
        each for each in plain if each["kind"] == "Deployment" and each["metadata"]["name"] == "freshet-profiles"
    ]
    assert workers[0]["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("without", "told"),
    [
        ("images.worker=", "set images.worker"),
        ("model.volume=null", "set model.volume"),
        ("kafka.strimzi.enabled=false", "set kafka.bootstrapServers, or kafka.strimzi.enabled"),
        ("database.cloudNativePg.enabled=false", "set database.existingSecret, or database.cloudNativePg.enabled"),
        ("index.milvusOperator.enabled=false", "set index.url, or index.milvusOperator.enabled"),
        ("triton.enabled=false", "set triton.url, or triton.enabled"),
    ],
)
def test_what_must_be_given_is_asked_for_by_name(without: str, told: str) -> None:
    done = helm("template", "freshet", str(CHART), "--kube-version", KUBERNETES, *EVERYTHING, "--set", without)
    assert done.returncode != 0
    assert told in done.stderr
