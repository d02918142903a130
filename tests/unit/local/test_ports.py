"""The usual port where it is free, another one where it is taken."""

from __future__ import annotations

import socket

from freshet.local.ports import choose, is_free


def test_the_preferred_port_is_taken_when_it_is_free() -> None:
    port = choose(0)
    assert choose(port) == port


def test_another_is_chosen_while_somebody_listens_there() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        assert not is_free(taken)
        assert choose(taken) != taken


def test_a_port_already_given_away_is_not_given_twice() -> None:
    port = choose(0)
    assert choose(port, {port}) != port
