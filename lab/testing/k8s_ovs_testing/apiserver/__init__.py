"""An API server for the lab and for tests, for machines without a real one.

Kubernetes' REST semantics on objects in memory: what clients that list, watch and patch rely on.
No admission beyond namespaces and service addresses, no validation of specs, no authentication.
"""
