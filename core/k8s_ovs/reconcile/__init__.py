"""From the world to the desired flows: which subject is computed again, what changes."""
