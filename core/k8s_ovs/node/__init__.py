"""The daemon of every node. The way of an ADD through its files, in the order of reading:

- daemon.py: when? It composes the parts, waits until the inbox has something, and reconciles.
- setup.py: which network runs here? Configuration, plugins and the node's subnet.
- attach.py: what to do? It plans: this pod is attached now, with this address; that one waits.
- commit.py: it carries the plan out, and answers those who wait.
- switch.py: it brings pods' ports and all flows into Open vSwitch.

ingest.py turns what observers say into the world that all of them read. The rooms:

- host/: what else this host should have, and how it is kept so
- cni/: requests of container runtimes: the socket, the protocol, the order of answers
- install/: the CNI program and its configuration, put where the container runtime finds them
- tell/: what the daemon says of its node: status file, etcd, metrics, events
"""
