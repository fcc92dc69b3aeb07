"""How does one talk to Open vSwitch?"""

import sys

# ovs.poller loads these wherever they are installed, only to ask whether they have replaced select.
# They have not, and eventlet alone takes 17 MB and a third of the time of a start.
for name in ("eventlet", "gevent"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: as if it were not installed
