"""The nouns: what users, Kubernetes and this node say, as frozen values. JSON is known only here."""
