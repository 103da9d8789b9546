"""Zarr's own threads, waited for: they write on after the call that started them has failed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled() -> Iterator[None]:
    """Nothing of what zarr began in this block is under way after it, so that a store that failed can be removed."""
    try:
        yield
    except BaseException:
        from zarr.core.sync import sync

        sync(_others_end())
        raise


async def _others_end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)
