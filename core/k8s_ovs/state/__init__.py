"""What a node should have beside its flows, as values; how they differ from what it has.

value.py says what there is, diff.py compares, driver.py is what reads and changes one backend. The
drivers stand beside what they speak: in ovs/ and link/. node/host/state.py asks them in order.
"""
