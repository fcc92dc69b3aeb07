"""The daemon of every node: what it hears, what it decides when it reconciles, what it commits.

`daemon` composes the parts and reconciles; `switch` is the only writer of Open vSwitch.
"""
