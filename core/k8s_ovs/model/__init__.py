"""The nouns: frozen values for what users, Kubernetes and this node say. Only here is JSON known."""
