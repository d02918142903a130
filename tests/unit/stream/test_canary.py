"""Vectors are taken of a model that answers its golden inputs, and of no other (invariant 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
from catalog_line import Line, boot, event, manifest, price
from numpy.typing import NDArray
from prometheus_client import REGISTRY

from freshet.domain.representations import Matrix, Modality
from freshet.errors import DependencyDown, ModelMismatch
from freshet.stream import canary
from freshet.stream.canary import TrustedEncoders
from freshet.stream.catalog import CatalogWorker
from freshet.stream.encoding import ProductEncoder


class Triton:
    """A server behind one connection; `restart` brings it back with another model, or away."""

    def __init__(self) -> None:
        self.layout = manifest("m1").layout
        self.wrong: Exception | None = None
        self.connected = False
        self.looks = self.encoded = 0
        self.breaks: Exception | None = None
        self.closed = False
        self.complained = asyncio.Event()

    def restart(self, wrong: Exception | None) -> None:
        self.wrong, self.connected = wrong, False

    async def canary(self) -> None:
        self.looks += 1
        self.connected = not isinstance(self.wrong, DependencyDown)
        await asyncio.sleep(0.001)
        if self.wrong is not None:
            self.complained.set()
            raise self.wrong

    async def encode(self, modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        if self.breaks is not None:
            raise self.breaks
        self.encoded += 1
        return np.zeros((1, 4), np.float32)

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix:
        return np.zeros((len(present), self.layout.dimension), np.float32)

    async def sentiment(self, inputs: Mapping[str, NDArray[np.generic]]) -> None: ...

    async def close(self) -> None:
        self.closed = True


OTHER = ModelMismatch("Triton's model 'text' differs from the golden vectors of m1")
AWAY = DependencyDown("triton", "nobody answers")


def up() -> float | None:
    return REGISTRY.get_sample_value("freshet_triton_canary_up")


async def encode(trusted: TrustedEncoders) -> Matrix:
    return await trusted.encode(Modality.TEXT, {"tokens": np.zeros((1, 2), np.int32)})


async def test_one_look_is_enough_while_the_connection_stands() -> None:
    triton = Triton()
    trusted = TrustedEncoders(triton)
    await asyncio.gather(*(encode(trusted) for _ in range(5)))
    assert (triton.looks, triton.encoded) == (1, 5)
    assert up() == 1


@pytest.mark.parametrize("wrong", [OTHER, AWAY])
async def test_what_came_back_after_a_restart_is_looked_at_before_it_encodes(wrong: Exception) -> None:
    triton = Triton()
    trusted = TrustedEncoders(triton)
    await encode(trusted)
    triton.restart(wrong)
    for answer in await asyncio.gather(*(encode(trusted) for _ in range(5)), return_exceptions=True):
        assert isinstance(answer, DependencyDown)
    assert triton.encoded == 1
    assert up() == 0
    triton.restart(None)
    await encode(trusted)
    assert triton.encoded == 2
    assert up() == 1


@pytest.mark.parametrize("breaks", [DependencyDown("triton", "the stub is dead"), ModelMismatch("another shape")])
async def test_a_call_that_fails_is_reason_to_look_again(breaks: Exception) -> None:
    triton = Triton()
    trusted = TrustedEncoders(triton)
    await encode(trusted)
    triton.breaks = breaks
    with pytest.raises(DependencyDown):
        await encode(trusted)
    triton.breaks = None
    await encode(trusted)
    assert triton.looks == 2


async def test_a_model_that_changes_behind_the_connection_is_noticed_beside_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canary, "EVERY_SECONDS", 0.01)
    triton = Triton()
    trusted = TrustedEncoders(triton)
    await trusted.open()
    triton.wrong = OTHER
    await asyncio.wait_for(triton.complained.wait(), 60.0)
    with pytest.raises(DependencyDown, match="golden vectors of m1"):
        await encode(trusted)
    assert triton.encoded == 0
    await trusted.close()
    assert triton.closed


async def test_without_looks_nothing_is_believed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "TRUSTED_SECONDS", 0.0)
    triton = Triton()
    trusted = TrustedEncoders(triton)
    await encode(trusted)
    await encode(trusted)
    assert triton.looks == 2


async def test_no_product_is_stored_while_triton_serves_another_model() -> None:
    line, triton = Line(), Triton()
    trusted = TrustedEncoders(triton)
    # The worker's usual encoders answer, behind the canary of a server that may change.
    for name in ("encode", "fuse", "sentiment"):
        setattr(triton, name, getattr(line.encoders, name))
    encoder = ProductEncoder(trusted, manifest("m1"), line.worker._encoder._pictures)
    line.worker = CatalogWorker(
        line.store,
        encoder,
        triton.layout,
        line.kafka,  # type: ignore[arg-type]
        line.letters,  # type: ignore[arg-type]
        line.settings,
        trusted=trusted,
    )
    triton.restart(OTHER)
    with pytest.raises(DependencyDown, match="golden vectors of m1"):
        await line.worker.open()
    with pytest.raises(DependencyDown):
        await line.send(event(upsert=boot()))
    assert line.kafka.published == []
    assert line.store.load(["boot"]) == {}
    triton.restart(None)
    assert [message.title for message in await line.apply(line.records)] == ["Red boot"]
    triton.restart(OTHER)
    with pytest.raises(DependencyDown):
        await line.send(price(70.0))
    assert line.store.load(["boot"])["boot"].state.fields["price"].value == 80.0
    await line.worker.close()
