"""Garbage collection in processes that answer within milliseconds. Standard library; anything may import it."""

from __future__ import annotations

import gc


def settle() -> None:
    """Called once, when a process is ready: what it holds by then stays, and full collections pass over it.

    One that walks the modules of a worker alone takes 30 ms, and comes in the midst of an answer.
    """
    gc.collect()
    gc.freeze()
