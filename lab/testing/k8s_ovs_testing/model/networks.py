"""Who is together with whom? The plain model that tenants are compared with."""

from __future__ import annotations

from attrs import define, field

from k8s_ovs.model.tenant import GLOBAL_TENANT

__all__ = ["Networks"]


@define
class Networks:
    """A token for the tenant of each namespace; 0 is the global one's."""

    of: dict[str, int] = field(factory=dict)
    tokens: int = 0

    def alone(self, name: str) -> None:
        self.tokens += 1
        self.of[name] = self.tokens

    def first(self, name: str) -> None:
        """As a namespace begins."""
        if name == "kube-system":
            self.of[name] = GLOBAL_TENANT
        else:
            self.alone(name)

    def gone(self, name: str) -> None:
        del self.of[name]

    def asked(self, name: str, action: str, target: str) -> None:
        """An action, answered; what cannot be done changes nothing."""
        if action == "isolate":
            self.alone(name)
        elif action == "global":
            self.of[name] = GLOBAL_TENANT
        elif action == "join" and target in self.of:
            self.of[name] = self.of[target]
