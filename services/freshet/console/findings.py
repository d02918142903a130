"""What is wrong, in one sentence each, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from freshet.console.lag import Summary

Level = Literal["red", "amber"]
BEHIND_SECONDS = 5.0
"""A worker that is so far behind, and moves, is worth a line."""
STILL_SECONDS = 3.0
"""A worker with work that has not moved for so long is not said to gain or to lose: a batch may take a moment."""
DEGRADED_SHARE = 0.01
NEEDS: Mapping[str, tuple[str, ...]] = {
    "catalog": ("kafka", "database", "triton"),
    "index": ("kafka", "database", "milvus"),
    "profiles": ("kafka", "database"),
}
"""Without which a worker waits."""
COSTS: Mapping[str, str] = {
    "catalog": "Products and prices that changed since then show as they were. Nothing is lost: it waits in Kafka.",
    "index": "Answers stay right: what Milvus does not show yet is searched in memory.",
    "profiles": "What shoppers did since then does not count in their answers. Nothing is lost: it waits in Kafka.",
}
"""What a worker that stands still costs."""
AWAY_COSTS: Mapping[str, str] = {
    "kafka": "Nothing new counts, and publishers are refused. Answers go on from what is known.",
    "database": "Workers wait, and answers are what is popular instead of what a shopper likes.",
    "triton": "Products that change are not encoded, and searches go by their very words. Recommendations go on.",
    "milvus": "Answers go on, by exact scans of memory.",
    "recommend": "Shoppers get no recommendations.",
    "ingest": "Publishers are refused and have to send again. What was confirmed is safe.",
}
"""What it costs when a part is away."""
AWAY_PAGES: Mapping[str, str] = {
    "kafka": "dependency-away",
    "database": "dependency-away",
    "triton": "triton-canary",
    "milvus": "index-away",
    "recommend": "target-down",
    "ingest": "target-down",
    "catalog": "nobody-works",
    "index": "nobody-works",
    "profiles": "nobody-works",
}
CATALOGUE_EVENTS = frozenset({"product", "hidden", "removal", "review"})
"""Events of freshness that go through the catalogue worker; the others are interactions."""


@dataclass(frozen=True, slots=True)
class Health:
    """One part of the system. `state` is healthy, starting, unhealthy, restarting, stopped or unknown."""

    name: str
    state: str
    detail: str = ""
    since: float = 0.0
    restarts: int = 0
    logs: bool = False
    """Whether `freshet local logs NAME` shows what it wrote."""
    pid: int = 0
    """Of its process on this machine; 0: unknown."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`title` says what is wrong, with numbers; `next` is what to do about it. `about` names the part or worker.

    `cost` says what shoppers notice of it; empty where that is in the title, or nothing. `page` is the runbook with
    more, by its name in docs/runbooks.
    """

    level: Level
    about: str
    title: str
    next: str
    cost: str = ""
    page: str = ""


def findings(
    healths: Sequence[Health],
    summaries: Sequence[Summary],
    flow: Mapping[str, Any],
    *,
    supervised: bool | None,
    models: Sequence[str] = (),
) -> list[Finding]:
    """The worst first.

    `supervised`: whether the local stack's supervisor lives; None when there is no local stack. `models`: the versions
    that processes work with.
    """
    found = []
    if supervised is False:
        found.append(
            Finding(
                "red", "stack", "The local stack's supervisor is gone: nothing that ends is started again.",
                "`freshet local down` clears what it left, then `freshet local up` starts anew",
            )
        )  # fmt: skip
    stalled = {one.worker for one in summaries if one.stalled_waiting}
    found += [_of_health(health) for health in healths if not _works(health) and health.name not in stalled]
    states = {health.name: health for health in healths}
    for one in summaries:
        if one.stalled_waiting:
            found.append(_of_stall(one, states))
        elif one.behind_seconds is not None and one.behind_seconds >= BEHIND_SECONDS and one.waiting:
            found.append(_of_delay(one, _cost(one.worker, flow)))
    found += _of_answers(flow, waits=bool(found))
    if len(models) > 1:
        found.append(
            Finding(
                "amber", "models", f"Processes work with {len(models)} models: {' and '.join(models)}.",
                "start again what has the older one: each reads the model when it starts",
                "What one model's worker publishes is passed over by every process of another.", "models-differ",
            )
        )  # fmt: skip
    return sorted(found, key=lambda finding: finding.level != "red")


def _look_at(name: str, health: Health | None) -> str:
    if health is None or not health.logs:
        return f"look at the logs of {name}"
    again = "; `freshet local down` and `freshet local up` start all anew" if health.state == "stopped" else ""
    return f"look at `freshet local logs {name}`{again}"


def _of_health(health: Health) -> Finding:
    detail = f": {reason}" if (reason := _reason(health)) else ""
    level: Level = "amber" if health.state == "starting" else "red"
    cost = AWAY_COSTS.get(health.name, "") if level == "red" else ""
    return Finding(
        level,
        health.name,
        f"{health.name} is {health.state}{detail}.",
        _look_at(health.name, health),
        cost,
        AWAY_PAGES.get(health.name, ""),
    )


def _reason(health: Health) -> str:
    """The first line of the detail, without the part's own name."""
    line = health.detail.partition("\n")[0]
    reason = line.removeprefix(f"{health.name} is not available: ")
    return "it does not answer in time" if reason.lower() == "deadline exceeded" else reason


def _of_stall(one: Summary, states: Mapping[str, Health]) -> Finding:
    health = states.get(one.worker)
    away = next((name for name in NEEDS.get(one.worker, ()) if name in states and not _works(states[name])), "")
    waits = "record waits" if one.stalled_waiting == 1 else "records wait"
    if health and health.state != "healthy":
        why = f": {_reason(health) or f'it is {health.state}'}"
    elif away:
        why = f": it waits for {away}"
    else:
        why = ": nobody owns their partitions" if one.stalled_unowned else ""
    still = duration(one.stalled_seconds)
    title = f"{one.worker} has not moved for {still} while {one.stalled_waiting:,} {waits}{why}."
    step = f"mend {away} first; {one.worker} then goes on by itself" if away else _unblock(one.worker, health)
    return Finding("red", one.worker, title, step, COSTS.get(one.worker, ""), "stalled")


def _works(health: Health) -> bool:
    return health.state in ("healthy", "unknown")


def _unblock(worker: str, health: Health | None) -> str:
    """A worker that stands still waits for something, and its log says for what; or its process hangs."""
    look = _look_at(worker, health)
    if health is None or not health.logs:
        return f"{look}: they say what it waits for. If they say nothing new it hangs: start it again"
    if health.state == "stopped" or not health.pid:
        return look
    return f"{look}: it says what it waits for. If it says nothing new it hangs: `kill -9 {health.pid}` starts it anew"


def _cost(worker: str, flow: Mapping[str, Any]) -> str:
    """What the delay costs: how old events were when they counted, in the last minute. Empty where nothing did."""
    rows = [
        row for row in flow.get("freshness", ())
        if row["recent"] and (row["event"] in CATALOGUE_EVENTS) == (worker != "profiles")
    ]  # fmt: skip
    if not rows:
        return ""
    worst = max(rows, key=lambda row: float(row["p99"]))
    return (
        f" Events count {duration(worst['p50'])} late at the median, {duration(worst['p99'])} at the 99th percentile."
    )


def _of_delay(one: Summary, cost: str) -> Finding:
    if one.still_seconds >= STILL_SECONDS:
        step = "see whether it moves: in a moment this line says that it stands still, or that it gains"
    elif one.seconds_to_go is not None:
        step = f"it gains: about {duration(one.seconds_to_go)} to go, nothing to do"
    else:
        step = "it does not gain: start another worker of its kind, or look at what slows it below"
    behind = duration(one.behind_seconds or 0.0)
    waits = "record waits" if one.waiting == 1 else "records wait"
    title = f"{one.worker} is {behind} behind: {one.waiting:,} {waits}.{cost}"
    return Finding("amber", one.worker, title, step, page="lag-growing")


def _of_answers(flow: Mapping[str, Any], *, waits: bool) -> list[Finding]:
    """`waits`: something is known to be wrong already, and answers that came early follow from it."""
    found = []
    answers, degraded, late = flow.get("answers", 0), flow.get("degraded", 0), flow.get("late", 0)
    if answers and degraded / answers >= DEGRADED_SHARE:
        found.append(
            Finding(
                "amber", "recommend", f"{degraded:,.0f} of {answers:,.0f} answers in a minute left something out.",
                "ask once in the Playground: the answer says what was missing", page="degraded-answers",
            )
        )  # fmt: skip
    if late:
        noun = "answer" if late == 1 else "answers"
        found.append(
            Finding(
                "amber", "recommend",
                f"{late:,.0f} {noun} came before what the caller had published was applied.",
                "mend what is named above: they follow from it" if waits
                else "see Freshness and Workers below: which worker takes long, and in what",
                page="freshness-slow",
            )
        )  # fmt: skip
    if letters := sum(row["minute"] for row in flow.get("dead_letters", ())):
        noun = "record" if letters == 1 else "records"
        found.append(
            Finding(
                "amber", "dead letters", f"{letters:,.0f} {noun} could not be applied in the last minute.",
                "open Dead letters: each says what was wrong; replay it once that is mended", page="dead-letters",
            )
        )  # fmt: skip
    return found


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6_000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h"
