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
    found += [_of_health(health) for health in healths if health.state not in ("healthy", "unknown")]
    states = {health.name: health for health in healths}
    for one in summaries:
        if one.stalled_waiting:
            found.append(_of_stall(one, states.get(one.worker)))
        elif one.behind_seconds is not None and one.behind_seconds >= BEHIND_SECONDS and one.waiting:
            found.append(_of_delay(one))
    found += _of_answers(flow)
    return sorted(found, key=lambda finding: finding.level != "red")


def _look_at(name: str, logs: bool) -> str:
    return f"look at `freshet local logs {name}`" if logs else f"look at the logs of {name}"


def _of_health(health: Health) -> Finding:
    detail = f": {health.detail.splitlines()[0]}" if health.detail else ""
    level: Level = "amber" if health.state == "starting" else "red"
    step = _look_at(health.name, health.logs)
    if health.state == "stopped" and health.logs:
        step += "; `freshet local up` starts the whole stack"
    return Finding(level, health.name, f"{health.name} is {health.state}{detail}.", step)


def _of_stall(one: Summary, health: Health | None) -> Finding:
    waits = "record waits" if one.stalled_waiting == 1 else "records wait"
    title = (
        f"{one.worker} has not moved for {one.stalled_seconds:.0f} s while {one.stalled_waiting:,} {waits}"
        f"{f': its process is {health.state}' if health and health.state != 'healthy' else ''}."
    )
    return Finding("red", one.worker, title, _look_at(one.worker, health is not None and health.logs))


def _of_delay(one: Summary) -> Finding:
    if one.seconds_to_go is not None:
        step = f"it gains: about {duration(one.seconds_to_go)} to go, nothing to do"
    else:
        step = "it does not gain: start another worker of its kind, or look at what slows it below"
    behind = duration(one.behind_seconds or 0.0)
    return Finding("amber", one.worker, f"{one.worker} is {behind} behind: {one.waiting:,} records wait.", step)


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
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6_000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h"
