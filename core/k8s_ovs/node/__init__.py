"""The daemon of every node: what it hears, what it decides in a turn, what it commits.

`daemon` composes the parts and takes the turns; `switch` is the one writer of Open vSwitch.
"""
