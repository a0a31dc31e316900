"""Work done in threads a few items ahead of whoever takes the results, which come in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
# Two keep two cores busy with what needs no interpreter; more would only hold more batches in memory.
_AHEAD = 2


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """`work` of each item; at most two results wait. What `work` raises is raised when its turn comes."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="ahead") as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
