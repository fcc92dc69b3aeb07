"""What this host should have beside its flows, and how it is kept so."""
