"""Where is the API server, and which credentials do we use?"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen
from kubernetes.client import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger
from urllib3.connection import HTTPConnection

from k8s_ovs.errors import InvalidRecord, reason_of
from k8s_ovs.observe.file_contents import FileContents
from k8s_ovs.observe.kube.kubeconfig import Chosen, check_kubeconfig
from k8s_ovs.observe.pem import certificate_problem, key_problem

__all__ = ["KubeSettings"]

# A host that disappears (no FIN, no RST) is given up after some 4 s of silence.
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4000),
)
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@frozen
class KubeSettings:
    """How to reach the API server.

    server: URL without a trailing slash. origin: what named it, as people know it.
    configuration: credentials and TLS, in the terms of the Kubernetes client. contents: of the
    files that it was made of. expires: when its credentials do, as far as an exec plugin says so.
    again: the same settings as files and plugin have them now; raises InvalidRecord.
    """

    server: str
    origin: str
    configuration: Configuration = field(repr=False, eq=False)
    contents: FileContents = field(repr=False, eq=False)
    expires: datetime | None = field(repr=False, eq=False)
    again: Callable[[], KubeSettings] = field(repr=False, eq=False)

    @classmethod
    def from_environment(
        cls, env: Mapping[str, str], service_account: Path = _SERVICE_ACCOUNT
    ) -> KubeSettings | None:
        """Settings from KUBECONFIG, KUBERNETES_MASTER or the pod's service account, in this order;
        None: the environment names no API server.

        KUBERNETES_MASTER beside KUBECONFIG replaces the server that the file names and keeps its
        credentials, as client-go has it. Raises InvalidRecord naming what cannot be used.
        """
        master, kubeconfig = env.get("KUBERNETES_MASTER", ""), env.get("KUBECONFIG", "")
        if kubeconfig:
            return cls.from_kubeconfig(kubeconfig, master)
        if master:
            return _from_master(master)
        if env.get("KUBERNETES_SERVICE_HOST"):
            return _from_service_account(env, service_account)
        return None

    @classmethod
    def from_kubeconfig(cls, kubeconfig: str, master: str = "") -> KubeSettings:
        """Settings from files with `:` between them; `master` replaces the server they name.

        Raises InvalidRecord naming what cannot be used.
        """
        origin = f"KUBECONFIG={kubeconfig}"
        server = _server_url(master) if master else ""
        files = _readable(kubeconfig)
        configuration = _configuration()
        contents = FileContents.of(files)
        try:
            chosen = check_kubeconfig(files)
            contents = contents.and_of(chosen.files)
            expires = _load(kubeconfig, chosen, server, configuration)
            _check_credentials(configuration, chosen)
            _clean_token(configuration)
        except Exception as error:  # the library looks at nothing before it uses it
            raise InvalidRecord(f"{origin}: {' '.join(str(error).split())}") from error
        if master:
            origin = f"KUBERNETES_MASTER={master} with the credentials of {origin}"
        again = partial(cls.from_kubeconfig, kubeconfig, master)
        return cls(configuration.host, origin, configuration, contents, expires, again)


def _configuration() -> Configuration:
    configuration = Configuration()
    configuration.retries = False  # our callers retry, with their own backoff
    configuration.socket_options = [*HTTPConnection.default_socket_options, *_SOCKET_OPTIONS]
    return configuration


def _server_url(master: str) -> str:
    """`host:port` or a URL, as a URL; raises InvalidRecord."""
    if "@" in master:
        # What stands before it is not shown: it may be a password, of any characters.
        raise InvalidRecord(
            "KUBERNETES_MASTER: found an @, as behind a user and a password, expected host:port or "
            "an http(s) URL without"
        )
    text = master if "://" in master else f"http://{master}"
    problem = f"KUBERNETES_MASTER={master}: expected host:port or an http(s) URL"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidRecord(f"{problem} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidRecord(problem)
    if not re.fullmatch(r"[!-~]+", text):
        raise InvalidRecord(f"{problem} of ASCII characters")
    if parts.query or parts.fragment:
        raise InvalidRecord(f"{problem} without query and fragment")
    return text.rstrip("/")


def _readable(kubeconfig: str) -> list[str]:
    """Those of the files that are there. Raises InvalidRecord unless one is, and where one refuses
    to be read."""
    found = []
    for name in filter(None, kubeconfig.split(os.pathsep)):
        try:
            path = Path(name).expanduser()
            if not stat.S_ISREG(path.stat().st_mode):
                raise InvalidRecord(f"KUBECONFIG={kubeconfig}: {name} is not a readable file")
            path.open("rb").close()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, RuntimeError, ValueError) as error:  # of a home that nobody has, NUL
            raise InvalidRecord(f"KUBECONFIG={kubeconfig}: {name}: {reason_of(error)}") from error
        found.append(str(path))
    if not found:
        raise InvalidRecord(f"KUBECONFIG={kubeconfig}: no such file")
    return found


def _from_master(master: str) -> KubeSettings:
    configuration = _configuration()
    configuration.host = _server_url(master)
    return KubeSettings(
        configuration.host,
        f"KUBERNETES_MASTER={master}",
        configuration,
        FileContents.of(()),
        None,
        partial(_from_master, master),
    )


def _from_service_account(env: Mapping[str, str], directory: Path) -> KubeSettings:
    configuration = _configuration()
    token, authority = str(directory / "token"), str(directory / "ca.crt")
    contents = FileContents.of((token, authority))
    loader = InClusterConfigLoader(  # type: ignore[no-untyped-call]  # the client has no types
        token_filename=token,
        cert_filename=authority,
        # The token is read again when it is another one, not after some time.
        try_refresh_token=False,
        environ=env,
    )
    try:
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]  # as above
        _clean_token(configuration)
    except (ConfigException, OSError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"service account {directory}: {error}") from error
    again = partial(_from_service_account, env, directory)
    origin = f"service account {directory}"
    return KubeSettings(configuration.host, origin, configuration, contents, None, again)


def _load(
    kubeconfig: str, chosen: Chosen, server: str, configuration: Configuration
) -> datetime | None:
    """Have the library read the files; when the credentials expire. server: in place of theirs."""
    merged = KubeConfigMerger(kubeconfig).config  # type: ignore[no-untyped-call]  # the client has no types
    if server:
        merged["clusters"].get_with_name(chosen.cluster_name)["cluster"].value["server"] = server
    if "tokenFile" in chosen.uses:
        user = merged["users"].get_with_name(chosen.user_name)["user"].value
        user.pop("token", None)  # which the library would prefer, while Kubernetes does not
    loader = KubeConfigLoader(merged, config_base_path=None)  # type: ignore[no-untyped-call]  # as above
    loader.load_and_set(configuration)  # type: ignore[no-untyped-call]  # as above
    # It reads no file again. Who holds these settings does: `KubeSettings.again`.
    configuration.refresh_api_key_hook = None
    expires: datetime | None = getattr(loader, "expiry", None)
    return expires


def _check_credentials(configuration: Configuration, chosen: Chosen) -> None:
    """Raises InvalidRecord for those that cannot be used, which the library leaves to its caller's
    first request."""
    for where, path in (
        (f"{chosen.cluster}.certificate-authority", configuration.ssl_ca_cert),
        (f"{chosen.user}.client-certificate", configuration.cert_file),
    ):
        if path and (problem := certificate_problem(Path(path).read_bytes())):
            raise InvalidRecord(f"{where}: found {problem}, expected certificates in PEM")
    if bool(configuration.cert_file) != bool(configuration.key_file):
        raise InvalidRecord(
            f"{chosen.user}: found one of client-certificate and client-key, expected both"
        )
    if configuration.cert_file and configuration.key_file:
        problem = key_problem(configuration.cert_file, configuration.key_file)
        if problem:
            expected = "expected the certificate's key in PEM"
            raise InvalidRecord(f"{chosen.user}.client-key: found {problem}, {expected}")
    if "tokenFile" in chosen.uses and not configuration.api_key:
        raise InvalidRecord(f"{chosen.user}.tokenFile: found an empty file, expected a token")
    # A plugin that fails is no error of the library, which would go on as nobody.
    if "exec" in chosen.uses and not (configuration.cert_file or configuration.api_key):
        raise InvalidRecord(f"{chosen.user}.exec: the command gave no credentials")


def _clean_token(configuration: Configuration) -> None:
    """Take the line's end away that the token's file may have. Raises ConfigException for a token
    that is empty or that no header can carry."""
    if (token := configuration.api_key.get("BearerToken")) is not None:
        configuration.api_key["BearerToken"] = token = token.strip()
        if not (token.isascii() and token.isprintable()):
            raise ConfigException("the token is not one line of ASCII characters")
        if " " not in token:
            raise ConfigException("the token is empty")
