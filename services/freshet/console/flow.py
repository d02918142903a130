"""From metrics to what the page says of flow: workers, answers, stages, encoders, freshness. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freshet.console.scrape import (
    RATE_SECONDS,
    WINDOW_SECONDS,
    Distribution,
    Sample,
    Series,
    distribution,
    merged,
    total,
    values,
)

FRESHNESS = "freshet_freshness_seconds"
WORKERS = ("catalog", "index", "profiles")
METHODS = ("Recommend", "ListSimilarProducts", "SearchProducts")
STAGES = ("wait", "profile", "fetch", "encode", "filter", "behaviour", "retrieve", "rank", "respond")
"""In the order of a request."""
STORES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Milvus: write a batch", "freshet_index_write_seconds", {}),
    ("Milvus: probing search", "freshet_index_probe_seconds", {}),
    ("SQL: read a profile", "freshet_request_stage_seconds", {"stage": "profile"}),
    ("SQL: write profiles", "freshet_worker_apply_seconds", {"worker": "profiles"}),
    ("SQL: write products", "freshet_catalog_stage_seconds", {"stage": "store"}),
)
"""What is told of the stores, by the metric that says it. A batch of profiles is its update and its transaction."""


def flow(series: Mapping[str, Series]) -> dict[str, Any]:
    """Everything of the flow panels, as JSON. Times are in seconds, rates per second; None where nothing happened."""
    quick = {name: one.added(RATE_SECONDS) for name, one in series.items()}
    minute = merged(one.added(WINDOW_SECONDS)[1] for one in series.values())
    begun = merged(one.latest for one in series.values())
    compared = {
        name: one for name, one in series.items() if total(one.latest, "freshet_index_probes_total", outcome="compared")
    }
    return {
        "workers": [_worker(name, quick, minute) for name in WORKERS],
        "methods": _methods(quick, minute, begun),
        "stages": [
            {"stage": stage, "mean": spread.mean, "p99": spread.percentile(0.99)}
            for stage in STAGES
            if (spread := distribution(minute, "freshet_request_stage_seconds", stage=stage)).count
        ],
        "degraded": total(minute, "freshet_degraded_answers_total"),
        "late": total(minute, "freshet_at_least_late_total"),
        "answers": total(minute, "freshet_request_seconds_count", code="OK"),
        "dead_letters": _dead_letters(begun, minute),
        "encoders": _encoders(begun, minute),
        "freshness": _freshness(begun, minute),
        "stores": [
            {"what": what, "p50": spread.percentile(0.5), "p99": spread.percentile(0.99), "count": spread.count}
            for what, name, labels in STORES
            if (spread := distribution(minute, name, **labels)).count
        ],
        "mirror_products": max(_gauges(series, "freshet_mirror_products"), default=None),
        "index": {
            "unsettled": max(_gauges(series, "freshet_mirror_unsettled_products"), default=None),
            "recall": min(_gauges(compared, "freshet_index_recall_ratio"), default=None),
        },
    }  # fmt: skip


def working_models(sample: Sample) -> list[str]:
    """Versions of the models that a process works with."""
    return values(sample, "freshet_model_info", "version")


def _together(quick: Mapping[str, tuple[float, Sample]], component: str) -> tuple[float, Sample]:
    """How long ago the samples compared with were taken, and what all processes of a component added since."""
    own = [one for name, one in quick.items() if name.partition(" ")[0] == component]
    return max((seconds for seconds, _ in own), default=0.0), merged(sample for _, sample in own)


def _worker(name: str, quick: Mapping[str, tuple[float, Sample]], minute: Sample) -> dict[str, Any]:
    seconds, added = _together(quick, name)
    batches = distribution(minute, "freshet_worker_batch_records", worker=name)
    apply = distribution(minute, "freshet_worker_apply_seconds", worker=name)
    return {
        "worker": name,
        "rate": total(added, "freshet_worker_records_total", worker=name) / seconds if seconds else None,
        "batch": batches.mean,
        "apply_p50": apply.percentile(0.5),
        "apply_p99": apply.percentile(0.99),
        "retries": total(minute, "freshet_worker_retries_total", worker=name),
    }


def _methods(quick: Mapping[str, tuple[float, Sample]], minute: Sample, begun: Sample) -> list[dict[str, Any]]:
    seconds, added = _together(quick, "recommend")
    name = "freshet_request_seconds"
    rows = []
    for method in dict.fromkeys((*METHODS, *sorted(values(begun, f"{name}_count", "method")))):
        spread = distribution(minute, name, method=method, code="OK")
        failed = total(minute, f"{name}_count", method=method) - spread.count
        rows.append(
            {
                "method": method,
                "rate": total(added, f"{name}_count", method=method) / seconds if seconds else None,
                "p50": spread.percentile(0.5),
                "p99": spread.percentile(0.99),
                "refused": max(0.0, failed),
            }
        )
    return rows


def _dead_letters(begun: Sample, minute: Sample) -> list[dict[str, Any]]:
    name = "freshet_dead_letters_total"
    rows = [
        {"reason": reason, "minute": total(minute, name, reason=reason), "total": total(begun, name, reason=reason)}
        for reason in values(begun, name, "reason")
    ]
    return [row for row in rows if row["total"]]


def _encoders(begun: Sample, minute: Sample) -> list[dict[str, Any]]:
    names = sorted(
        set(values(begun, "freshet_encoder_rows_total", "modality"))
        | set(values(begun, "freshet_encoder_unchanged_total", "modality"))
    )
    rows = []
    for name in names:
        ran = total(begun, "freshet_encoder_rows_total", modality=name)
        unchanged = total(begun, "freshet_encoder_unchanged_total", modality=name)
        rows.append(
            {
                "modality": name,
                "calls": total(minute, "freshet_encoder_calls_total", modality=name),
                "rows": ran,
                "unchanged": unchanged / (ran + unchanged) if ran + unchanged else None,
            }
        )
    return rows


def _freshness(begun: Sample, minute: Sample) -> list[dict[str, Any]]:
    rows = []
    for event in values(begun, f"{FRESHNESS}_bucket", "event"):
        recent = distribution(minute, FRESHNESS, event=event)
        chosen: Distribution = recent if recent.count else distribution(begun, FRESHNESS, event=event)
        if chosen.count:
            rows.append(
                {
                    "event": event,
                    "recent": recent.count > 0,
                    "count": chosen.count,
                    "p50": chosen.percentile(0.5),
                    "p99": chosen.percentile(0.99),
                }
            )
    return rows


def _gauges(series: Mapping[str, Series], name: str) -> list[float]:
    """Of each process that has it."""
    return [total(one.latest, name) for one in series.values() if any(other == name for other, _ in one.latest)]
