"""What is wrong, in one sentence each, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from freshet.console.lag import Summary

Level = Literal["red", "amber"]
BEHIND_SECONDS = 5.0
"""A worker that is so far behind, and moves, is worth a line."""
DEGRADED_SHARE = 0.01
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


@dataclass(frozen=True, slots=True)
class Finding:
    """`title` says what is wrong, with numbers; `next` is what to do about it. `about` names the part or worker."""

    level: Level
    about: str
    title: str
    next: str


def findings(
    healths: Sequence[Health], summaries: Sequence[Summary], flow: Mapping[str, Any], *, supervised: bool | None
) -> list[Finding]:
    """The worst first. `supervised`: whether the local stack's supervisor lives; None when there is no local stack."""
    found = []
    if supervised is False:
        found.append(
            Finding(
                "red", "stack", "The local stack's supervisor is gone: nothing that ends is started again.",
                "`freshet local down` clears what it left, then `freshet local up` starts anew",
            )
        )  # fmt: skip
    stalled = {one.worker for one in summaries if one.stalled_waiting}
    found += [
        _of_health(health)
        for health in healths
        if health.state not in ("healthy", "unknown") and health.name not in stalled
    ]
    states = {health.name: health for health in healths}
    for one in summaries:
        if one.stalled_waiting:
            found.append(_of_stall(one, states.get(one.worker)))
        elif one.behind_seconds is not None and one.behind_seconds >= BEHIND_SECONDS and one.waiting:
            found.append(_of_delay(one, _cost(one.worker, flow)))
    found += _of_answers(flow)
    return sorted(found, key=lambda finding: finding.level != "red")


def _look_at(name: str, health: Health | None) -> str:
    if health is None or not health.logs:
        return f"look at the logs of {name}"
    again = "; `freshet local down` and `freshet local up` start all anew" if health.state == "stopped" else ""
    return f"look at `freshet local logs {name}`{again}"


def _of_health(health: Health) -> Finding:
    detail = f": {reason}" if (reason := _reason(health)) else ""
    level: Level = "amber" if health.state == "starting" else "red"
    return Finding(level, health.name, f"{health.name} is {health.state}{detail}.", _look_at(health.name, health))


def _reason(health: Health) -> str:
    """The first line of the detail, without the part's own name."""
    line = health.detail.partition("\n")[0]
    return line.removeprefix(f"{health.name} is not available: ")


def _of_stall(one: Summary, health: Health | None) -> Finding:
    waits = "record waits" if one.stalled_waiting == 1 else "records wait"
    why = f": {_reason(health) or f'it is {health.state}'}" if health and health.state != "healthy" else ""
    still = duration(one.stalled_seconds)
    title = f"{one.worker} has not moved for {still} while {one.stalled_waiting:,} {waits}{why}."
    return Finding("red", one.worker, title, _look_at(one.worker, health))


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
    if one.seconds_to_go is not None:
        step = f"it gains: about {duration(one.seconds_to_go)} to go, nothing to do"
    else:
        step = "it does not gain: start another worker of its kind, or look at what slows it below"
    behind = duration(one.behind_seconds or 0.0)
    return Finding("amber", one.worker, f"{one.worker} is {behind} behind: {one.waiting:,} records wait.{cost}", step)


def _of_answers(flow: Mapping[str, Any]) -> list[Finding]:
    found = []
    answers, degraded, late = flow.get("answers", 0), flow.get("degraded", 0), flow.get("late", 0)
    if answers and degraded / answers >= DEGRADED_SHARE:
        found.append(
            Finding(
                "amber", "recommend", f"{degraded:,.0f} of {answers:,.0f} answers in a minute left something out.",
                "ask once in the Playground: the answer says what was missing",
            )
        )  # fmt: skip
    if late:
        found.append(
            Finding(
                "amber", "recommend", f"{late:,.0f} answers came before what the caller had published was applied.",
                "see which worker is behind",
            )
        )  # fmt: skip
    if letters := sum(row["minute"] for row in flow.get("dead_letters", ())):
        noun = "record" if letters == 1 else "records"
        found.append(
            Finding(
                "amber", "dead letters", f"{letters:,.0f} {noun} could not be applied in the last minute.",
                "open Dead letters: each says what was wrong; replay it once that is mended",
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
