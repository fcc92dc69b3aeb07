"""Which limits does a pod's object in the API server ask for?

The annotations are Kubernetes' own: kubernetes.io/ingress-bandwidth (to the pod) and
kubernetes.io/egress-bandwidth (from it), in bits per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from k8s_ovs.plugin import InvalidRecord, KubeResource, Pod, Rates, kube_field, shown
from k8s_ovs_shaping.quantity import parse_quantity

__all__ = ["BANDWIDTHS", "EGRESS", "INGRESS", "Bandwidth", "bandwidth_of", "pods"]

#: Records by "namespace/name" of the pods of this node.
BANDWIDTHS = "bandwidths"

INGRESS = "kubernetes.io/ingress-bandwidth"
EGRESS = "kubernetes.io/egress-bandwidth"

#: Bits per second that Kubernetes accepts (its pkg/util/bandwidth): 1k to 1P.
_LEAST, _MOST = 10**3, 10**15

#: Characters of a value that an error shows.
_MOST_SHOWN = 200

#: A static pod has another uid in the API server than kubelet gives it; this annotation has that.
_STATIC = "kubernetes.io/config.hash"


@frozen
class Bandwidth:
    """What a pod asks for. uids: the pod's uid, and of a static pod also kubelet's own."""

    uids: frozenset[str]
    rates: Rates

    def is_of(self, uid: str) -> bool:
        """Whether this belongs to the pod with this uid; "": the runtime gave none."""
        return not uid or uid in self.uids


def pods() -> KubeResource:
    """The pods of this node in the API server."""
    return KubeResource(BANDWIDTHS, "/api/v1/pods", bandwidth_of, local_only=True)


def bandwidth_of(key: str, found: Mapping[str, Any]) -> Bandwidth | None:
    """A Pod object of the API (core/v1) as a Bandwidth; None: it has no interface of ours, since it
    uses its node's network or has ended.

    Raises InvalidRecord that names pod, annotation or field, what was found and what is accepted.
    """
    pod = f"pod {key}"
    if kube_field(pod, found, "spec.hostNetwork", bool):
        return None
    if kube_field(pod, found, "status.phase", str) in ("Succeeded", "Failed"):
        return None
    annotations = kube_field(pod, found, "metadata.annotations", dict) or {}
    uids = (kube_field(pod, found, "metadata.uid", str), annotations.get(_STATIC))
    return Bandwidth(
        frozenset(uid for uid in uids if isinstance(uid, str) and uid),
        Rates(_rate(key, annotations, INGRESS), _rate(key, annotations, EGRESS)),
    )


def _rate(key: str, annotations: Mapping[str, Any], name: str) -> int | None:
    text = annotations.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        expected = 'expected a string such as "10M"'
        raise InvalidRecord(f"pod {key}: {name}: found {shown(text)}, {expected}")
    told = f'pod {key}: {name}: found "{text[:_MOST_SHOWN]}"'
    try:
        rate = parse_quantity(text)
    except ValueError as error:
        raise InvalidRecord(f"{told}, {error}") from None
    if not _LEAST <= rate <= _MOST:
        raise InvalidRecord(f"{told}, expected 1k to 1P bits per second")
    return rate


def rates_of(record: Bandwidth | None, pod: Pod) -> Rates:
    """The rate limits of a pod; its last ones while nothing is known about it: after a start, until
    the API server's snapshot arrives, and when its object was deleted before the pod."""
    return record.rates if record is not None and record.is_of(pod.uid) else pod.rates
