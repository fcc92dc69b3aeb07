"""The nouns: what users, Kubernetes and the node say, as frozen values. Only here is JSON known."""
