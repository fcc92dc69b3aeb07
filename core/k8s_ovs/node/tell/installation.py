"""Does the container runtime find us? It gets program and configuration, and keeps them."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from k8s_ovs.node.install.cni_config import CNI_VERSION
from k8s_ovs.node.install.installer import cni_files, put_right
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.output import Output
from k8s_ovs.state.value import File

__all__ = ["Installation"]

_log = structlog.get_logger(__name__)

#: Seconds between two looks at the files.
_LOOK_EVERY = 8.0


class Installation:
    """Files as `settings.install_cni` says; None there: no files.

    repaired: told what was put right of them later: its kind, and what was found.
    """

    def __init__(self, settings: NodeSettings, repaired: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._repaired = repaired
        self._files: list[File] = []
        self._look_at = 0.0 if settings.install_cni is not None else float("inf")
        self._output = Output("CNI installation")

    @property
    def problem(self) -> str:
        """Why the files are not there; "": they are."""
        return self._output.problem

    @property
    def due_at(self) -> float:
        """When to look at them (time.monotonic())."""
        return self._output.due_at or self._look_at

    def tend(self) -> None:
        """Look, if it is time to, and put right what differs. Never raises.

        With the files the container runtime says that its network is ready, so pods work by now.
        """
        if time.monotonic() >= self.due_at and self._output.attempt(self._keep):
            self._look_at = time.monotonic() + _LOOK_EVERY

    def _keep(self) -> None:
        settings = self._settings
        if settings.install_cni is None:
            return
        if self._files:
            for each in put_right(self._files):
                self._repaired(File.kind, str(each))
            return
        directories = settings.bin_dir, settings.conf_dir
        files = cni_files(*directories, settings.install_cni, CNI_VERSION, settings.cni_socket)
        put_right(files)
        self._files = files
        for file in files:
            _log.info("installed", node=settings.hostname, path=file.name)
