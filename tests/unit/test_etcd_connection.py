"""What becomes of calls to etcd when the connection is closed."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from k8s_ovs.errors import Unavailable
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.settings import EtcdSettings


def test_a_call_in_progress_and_one_that_comes_are_told_that_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        etcd = Etcd(EtcdSettings((f"http://127.0.0.1:{silent.getsockname()[1]}",)))
        threading.Timer(0.5, etcd.close).start()
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"get key: the connection is closed$"):
                etcd.get("key")
        assert time.monotonic() - began < 4, "much sooner than its time limit"
