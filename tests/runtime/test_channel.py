"""Bounded queues: back pressure, end, cancellation."""

import threading

import pytest

from gfs_sr.runtime.channel import Cancelled, Channel, Pool


def in_thread(body):
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def test_items_arrive_in_order_and_end_with_close():
    channel = Channel(2)

    def produce():
        for item in range(50):
            channel.put(item)
        channel.close()

    producer = in_thread(produce)
    assert list(channel) == list(range(50))
    producer.join(5)


def test_a_full_channel_holds_the_producer_back():
    channel = Channel(2)
    put = []
    third_is_in = threading.Event()

    def produce():
        for item in range(3):
            channel.put(item)
            put.append(item)
        third_is_in.set()

    producer = in_thread(produce)
    assert not third_is_in.wait(0.2)
    assert put == [0, 1]
    assert channel.get() == 0
    assert third_is_in.wait(5)
    producer.join(5)


@pytest.mark.parametrize("wait", ["put", "get"])
def test_cancel_wakes_whoever_waits(wait):
    channel = Channel(1)
    if wait == "put":
        channel.put(0)
    raised = threading.Event()

    def blocked():
        try:
            channel.put(1) if wait == "put" else channel.get()
        except Cancelled:
            raised.set()

    thread = in_thread(blocked)
    channel.cancel()
    assert raised.wait(5)
    thread.join(5)


def test_a_pool_lends_each_buffer_to_one_borrower():
    pool = Pool(["a", "b"])
    assert {pool.get(), pool.get()} == {"a", "b"}
    pool.put("a")
    assert pool.get() == "a"
