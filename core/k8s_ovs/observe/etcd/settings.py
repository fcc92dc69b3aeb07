"""Where is etcd, and which credentials does it need? The `--etcd-...` flags, checked."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import Attribute, field, frozen

from k8s_ovs.errors import InvalidRecord

__all__ = ["EtcdSettings", "parse_endpoints"]


def parse_endpoints(text: str) -> tuple[str, ...]:
    """The endpoints in a comma-separated list: `http://10.0.0.1:2379,http://10.0.0.2:2379`."""
    return tuple(word.strip().rstrip("/") for word in text.split(",") if word.strip())


def _check_endpoints(_: object, __: Attribute[tuple[str, ...]], endpoints: tuple[str, ...]) -> None:
    if not endpoints:
        raise InvalidRecord("--etcd-endpoints is empty, expected http://HOST:PORT,...")
    if any(map(_may_have_password, endpoints)):
        raise InvalidRecord(
            "--etcd-endpoints: found a user and a password, which are not shown, expected "
            "http://HOST:PORT,... and the user in --etcd-username, --etcd-password"
        )
    for endpoint in endpoints:
        _check_endpoint(endpoint)


def _may_have_password(endpoint: str) -> bool:
    """Whether it may be shown to nobody: a password can be of any characters, the comma too."""
    before, at, _ = endpoint.rpartition("@")
    _, scheme_ends, user = before.partition("://")
    return bool(at) and (":" in user or not scheme_ends)


def _check_endpoint(endpoint: str) -> None:
    expected = "expected http://HOST:PORT or https://HOST:PORT"
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError as error:
        raise InvalidRecord(f"--etcd-endpoints: {endpoint!r}: {error}, {expected}") from error
    if url.scheme not in ("http", "https") or not url.hostname or not port:
        raise InvalidRecord(f"--etcd-endpoints: found {endpoint!r}, {expected}")
    if url.path or url.query or url.fragment or url.username:
        raise InvalidRecord(
            f"--etcd-endpoints: {endpoint!r} has more than host and port, {expected}"
        )


@frozen
class EtcdSettings:
    """endpoints: URLs of one cluster, tried one after the other.

    cafile: who signed etcd's certificate; None: the authorities that gRPC brings along.
    certfile, keyfile: our own certificate, None: we show none.
    username: None: no Authenticate.
    timeout: seconds that a whole call may take, over all endpoints.
    Raises InvalidRecord, naming the flag, for invalid values.
    """

    endpoints: tuple[str, ...] = field(validator=_check_endpoints)
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 5.0

    def __attrs_post_init__(self) -> None:
        if bool(self.certfile) != bool(self.keyfile):
            given, missing = ("cert", "key") if self.certfile else ("key", "cert")
            raise InvalidRecord(f"--etcd-{given}file is given without --etcd-{missing}file")
        plain = [endpoint for endpoint in self.endpoints if endpoint.startswith("http:")]
        if plain and (self.cafile or self.certfile):
            raise InvalidRecord(
                f"--etcd-endpoints: {plain[0]} is not encrypted, but --etcd-cafile or "
                "--etcd-certfile is given: expected https://"
            )
        if self.password and not self.username:
            raise InvalidRecord("--etcd-password is given without --etcd-username")
        if self.timeout <= 0:
            raise InvalidRecord(f"etcd timeout: found {self.timeout:g} s, expected more than 0")
