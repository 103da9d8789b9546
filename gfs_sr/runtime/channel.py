"""Bounded queues between the stages of the pipeline: back pressure, end of stream, cancellation."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):
    """The run was stopped while this stage waited; whoever stopped it knows why."""


class Channel(Generic[T]):
    """A queue of at most `capacity` items from one stage to the next."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()  # guards every member below and `_items`
        self._closed = False
        self._cancelled = False

    def put(self, item: T) -> None:
        """Hand over an item; waits while the queue is full.

        Raises:
            Cancelled: the run was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or len(self._items) < self.capacity)
            if self._cancelled:
                raise Cancelled
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Take the next item; waits while there is none.

        Raises:
            Cancelled: the run was stopped.
            StopIteration: the stage before has ended, and all it gave was taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or bool(self._items) or self._closed)
            if self._cancelled:
                raise Cancelled
            if not self._items:
                raise StopIteration
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more items will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Wake and stop everyone who waits here."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.get()


class Pool(Channel[T]):
    """Buffers made once and lent in turn: a stage that has none left waits for the next stage to give one back."""

    def __init__(self, buffers: list[T]) -> None:
        super().__init__(len(buffers))
        self._items.extend(buffers)
