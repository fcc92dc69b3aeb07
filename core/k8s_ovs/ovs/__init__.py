"""How does one talk to Open vSwitch?"""

import sys


def _load_poller() -> None:
    """ovs.poller loads these wherever they are installed, only to ask whether they have replaced
    select. They have not, and eventlet alone takes 17 MB and a third of the time of a start."""
    absent = [name for name in ("eventlet", "gevent") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: not to be loaded
    try:
        import ovs.poller  # noqa: F401, PLC0415
    finally:
        for name in absent:
            del sys.modules[name]


_load_poller()
