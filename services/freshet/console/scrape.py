"""Prometheus metrics of Freshet's processes; rates and percentiles over a window."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import httpx
from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = tuple[tuple[str, str], ...]
Sample: TypeAlias = dict[tuple[str, Labels], float]
"""Everything that one process said: (sample name, sorted labels) → value."""

RATE_SECONDS = 10.0
WINDOW_SECONDS = 60.0


def parse(text: str) -> Sample:
    """Freshet's samples of one exposition. Raises ValueError for what is none."""
    ours = "\n".join(line for line in text.splitlines() if line.startswith(("freshet_", "# TYPE freshet_"))) + "\n"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(ours)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def since(now: Sample, then: Sample) -> Sample:
    """What was added between two samples; a process that began anew counts from zero."""
    return {key: value if value < (old := then.get(key, 0.0)) else value - old for key, value in now.items()}


def total(sample: Sample, name: str, **labels: str) -> float:
    """The sum of all samples of that name with (at least) these labels."""
    wanted = set(labels.items())
    return sum(value for (other, own), value in sample.items() if other == name and wanted <= set(own))


def values(sample: Sample, name: str, label: str) -> list[str]:
    """The values that `label` has in samples of that name, in order."""
    return sorted({value for (other, own), _ in sample.items() if other == name for key, value in own if key == label})


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's counts by upper bound, of which percentiles can be read."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float

    @property
    def count(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """As Prometheus' histogram_quantile: linear inside a bucket; beyond the last bound, that bound."""
        if not self.count:
            return None
        rank = share * self.count
        lower, before = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank:
                if math.isinf(bound):
                    return lower
                inside = count - before
                return lower + (bound - lower) * ((rank - before) / inside if inside else 1.0)
            lower, before = bound, count
        return lower


def distribution(sample: Sample, name: str, **labels: str) -> Distribution:
    """The histogram `name`, over all series that have these labels."""
    wanted = set(labels.items())
    counts: dict[float, float] = {}
    for (other, own), value in sample.items():
        if other == f"{name}_bucket" and wanted <= set(own):
            bound = float(dict(own)["le"])
            counts[bound] = counts.get(bound, 0.0) + value
    bounds = tuple(sorted(counts))
    return Distribution(bounds, tuple(counts[bound] for bound in bounds), total(sample, f"{name}_sum", **labels))


def merged(samples: Iterable[Sample]) -> Sample:
    """Several processes as one."""
    result: Sample = {}
    for sample in samples:
        for key, value in sample.items():
            result[key] = result.get(key, 0.0) + value
    return result


class Series:
    """The samples of one process over the last minute. `now` is a monotonic clock's."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, Sample]] = deque()

    def add(self, now: float, sample: Sample) -> None:
        self._kept.append((now, sample))
        while len(self._kept) > 2 and now - self._kept[1][0] >= WINDOW_SECONDS:
            self._kept.popleft()

    def clear(self) -> None:
        self._kept.clear()

    @property
    def latest(self) -> Sample:
        return self._kept[-1][1] if self._kept else {}

    def added(self, seconds: float) -> tuple[float, Sample]:
        """How long ago the sample compared with was taken (about `seconds`), and what was added since."""
        if len(self._kept) < 2:
            return 0.0, {}
        now, latest = self._kept[-1]
        then, old = next(
            ((when, sample) for when, sample in reversed(self._kept) if now - when >= seconds), self._kept[0]
        )
        return now - then, since(latest, old)


async def addresses_of(place: str) -> list[str]:
    """The HOST:PORT of every address that the host in `place` has, in order; `place` itself where it has none now."""
    host, _, port = place.rpartition(":")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [place]
    return sorted({f"[{name}]:{port}" if ":" in (name := str(entry[4][0])) else f"{name}:{port}" for entry in found})


class Scraper:
    """Asks every process for its metrics; one that does not answer is left out until it does."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=1.0, trust_env=False)
        self.series: dict[str, Series] = {}
        """By process: the component's name, and its address where there are several."""

    async def scrape(self, addresses: Mapping[str, Sequence[str]], now: float) -> list[str]:
        """Read all of these HOST:PORT by component; returns the names of those that did not answer."""
        wanted = {
            name if len(listed) == 1 else f"{name} {address}": address
            for name, listed in addresses.items()
            for address in listed
        }
        for gone in set(self.series) - set(wanted):
            del self.series[gone]
        answers = await asyncio.gather(*(self._read(address) for address in wanted.values()))
        silent = []
        for name, sample in zip(wanted, answers, strict=True):
            series = self.series.setdefault(name, Series())
            if sample is None:
                series.clear()
                silent.append(name)
            else:
                series.add(now, sample)
        return silent

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(self, address: str) -> Sample | None:
        try:
            answer = await self._client.get(f"http://{address}/metrics")
            answer.raise_for_status()
            return parse(answer.text)
        except (httpx.HTTPError, ValueError):
            return None
