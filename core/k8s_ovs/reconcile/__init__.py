"""From the world to the flows that should stand: which subject is computed again, what changes."""
