"""Whether the host can hear its autopilot is told by its locks, which are looked at only."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from petal_s3.host.hearing import STUCK_S, Hearing


@dataclass
class Host:
    """What is looked at of the host's ``ext_mavlink``."""

    connected: bool = True
    _mav_lock: threading.Lock = field(default_factory=threading.Lock)
    _download_lock: threading.Lock = field(default_factory=threading.Lock)
    _send: dict[str, deque[str]] = field(default_factory=dict)


def test_it_hears_while_no_lock_is_held() -> None:
    assert Hearing(Host()).is_possible(0.0)


def test_a_download_is_known_at_once() -> None:
    host = Host()
    hearing = Hearing(host)
    with host._download_lock:
        hearing.heard(1.0)
        assert not hearing.is_possible(1.0)
    assert hearing.is_possible(1.1)


def test_the_hosts_own_threads_hold_the_first_lock_at_nearly_every_look() -> None:
    host = Host()
    hearing = Hearing(host)
    with host._mav_lock:
        for second in range(100):
            assert hearing.is_possible(float(second)), "nothing waits to be sent: it is in use"


def test_it_is_deaf_where_nothing_is_sent_and_nothing_heard_while_the_lock_is_held() -> None:
    host = Host(_send={"mav": deque(["heartbeat"])})
    hearing = Hearing(host)
    with host._mav_lock:
        assert hearing.is_possible(10.0)
        assert hearing.is_possible(10.0 + STUCK_S - 0.1)
        assert not hearing.is_possible(10.0 + STUCK_S)
        hearing.heard(13.0)
        assert hearing.is_possible(13.0 + STUCK_S - 0.1), "something was heard meanwhile"
        assert not hearing.is_possible(13.0 + STUCK_S)
    assert hearing.is_possible(16.0)


def test_a_queue_that_moves_begins_the_wait_anew() -> None:
    queue = deque(["heartbeat"])
    host = Host(_send={"mav": queue})
    hearing = Hearing(host)
    with host._mav_lock:
        assert hearing.is_possible(0.0)
        queue.clear()
        assert hearing.is_possible(1.0)
        queue.append("heartbeat")
        assert hearing.is_possible(2.0)
        assert hearing.is_possible(2.0 + STUCK_S - 0.1)
        assert not hearing.is_possible(2.0 + STUCK_S)


def test_a_host_that_is_not_connected_does_not_read_so_the_lock_is_held_by_somebody_else() -> None:
    host = Host(connected=False)
    hearing = Hearing(host)
    assert hearing.is_possible(0.0)
    with host._mav_lock:
        assert hearing.is_possible(1.0)
        assert not hearing.is_possible(1.0 + STUCK_S)


def test_a_host_without_these_locks_hears() -> None:
    assert Hearing(object()).is_possible(0.0)


def test_to_look_takes_no_lock() -> None:
    host = Host(_send={"mav": deque(["heartbeat"])})
    hearing = Hearing(host)
    for second in range(10):
        hearing.is_possible(float(second))
    assert not host._mav_lock.locked()
    assert not host._download_lock.locked()
