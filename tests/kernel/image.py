"""What does the machine boot? Debian with its own kernel, made once by mmdebstrap and kept."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from attrs import frozen
from tests.kernel.cache import cached, fingerprint
from tests.kernel.host import make_ext4, need, progress, run

from k8s_ovs.errors import K8sOvsError

__all__ = ["LEAN", "SUITE", "Image", "debian_image", "debian_sources", "transport_settings"]

SUITE = "bookworm"
BUILD_LIMIT_S = 900

# PACKAGES: everything a node has, and what the tests send and watch packets with.
PACKAGES = (
    "linux-image-amd64",
    "openvswitch-switch",
    "python3",
    "etcd-server",
    "etcd-client",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "nftables",
    "conntrack",
    "ethtool",
    "kmod",
    "mount",
    "netbase",
    "procps",
    "busybox-static",
    "ca-certificates",
    "curl",
    "iperf3",
    "iputils-ping",
    "netcat-openbsd",
    "socat",
    "tcpdump",
    "util-linux",
)

LEAN = (
    '--aptopt=Apt::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)

# FIRST_PROGRAM is in the initial file system. What a run does comes with the run's own
# drive, so the image need not change with it.
FIRST_PROGRAM = """#!/busybox sh
/busybox mount -t devtmpfs dev /dev
exec >/dev/console 2>&1 </dev/console
for module in /modules/*; do /busybox insmod $module; done
/busybox mount -t ext4 -o noatime /dev/vda /root
/busybox mkdir -p /root/host
/busybox mount -t ext4 -o noatime /dev/vdb /root/host
/busybox mount -t devtmpfs dev /root/dev
exec /busybox switch_root /root /host/guest.sh
"""

# MAKE_INITRD: Debian's own takes 3 to 5 s of each boot to find out what is known here.
MAKE_INITRD = """set -eu
mkdir -p /initrd/dev /initrd/root /initrd/modules
cd /initrd
cp /bin/busybox .
cat >init
chmod +x init
kernel=$(ls /lib/modules)
for module in virtio_pci virtio_blk crc32c_generic ext4; do
    modprobe --set-version "$kernel" --show-depends $module
done | awk '!seen[$2]++ { printf "%s modules/%02d.ko\\n", $2, NR }' | xargs -n 2 cp
find . | cpio --quiet -o -H newc >/boot/machine-initrd
"""


@frozen
class Image:
    """The files that qemu boots from; `drive` holds ext4 and is never written to."""

    kernel: Path
    initrd: Path
    drive: Path


def debian_image() -> Image:
    """The image of this recipe, from the cache or built (about 90 s, as root).

    Raises K8sOvsError when not root, without mmdebstrap, or when Debian's mirror fails.
    """
    key = fingerprint(SUITE, *PACKAGES, *LEAN, FIRST_PROGRAM, MAKE_INITRD)
    made = cached("image", key, _build)
    return Image(made / "vmlinuz", made / "initrd.img", made / "root.img")


def _build(directory: Path) -> None:
    need("mmdebstrap", "mmdebstrap")
    if os.geteuid() != 0:
        raise K8sOvsError("the machine's image is built by root only: run this once as root")
    progress(f"building the image, {len(PACKAGES)} Debian packages, about 90 s, once")
    root = directory / "root"
    run(_mmdebstrap(root, directory / "sources.list"), BUILD_LIMIT_S)
    run(["chroot", str(root), "sh", "-c", MAKE_INITRD], limit_s=60, given=FIRST_PROGRAM)
    shutil.copyfile(root / "vmlinuz", directory / "vmlinuz")
    shutil.copyfile(root / "boot" / "machine-initrd", directory / "initrd.img")
    make_ext4(root, directory / "root.img", "6G")
    shutil.rmtree(root)


def _mmdebstrap(root: Path, sources: Path) -> list[str]:
    sources.write_text(debian_sources())
    options = ["--quiet", "--mode=root", "--variant=apt", "--format=directory", *LEAN]
    options += [f"--aptopt={setting}" for setting in transport_settings()]
    options += [f"--include={','.join(PACKAGES)}", SUITE, str(root), str(sources)]
    # Its own process space: all that it started, and the mounts under the root that it fills,
    # are gone with it, so that removing a half-made root never reaches this machine's /dev.
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "mmdebstrap", *options]


def debian_sources() -> str:
    """The mirrors of this machine that carry Debian itself, in the syntax of sources.list."""
    line = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    chosen = ["Created-By: Packages", "Origin: Debian", "Architecture: amd64"]
    found = run(["apt-get", "indextargets", "--format", line, *chosen], limit_s=30)
    lines = sorted({each for each in found.splitlines() if f" {SUITE}" in each})
    if not lines:
        raise K8sOvsError(f"apt knows no mirror of Debian {SUITE}: run apt-get update first")
    return "\n".join(lines) + "\n"


def transport_settings() -> list[str]:
    """How this machine's apt reaches its mirrors: proxies, certificates, checks of dates."""
    lines = run(["apt-config", "dump"], limit_s=30).splitlines()
    wanted = re.compile(r'Acquire::(https?::|Check-|Retries)\S* "[^"]+";')
    return [line for line in lines if wanted.fullmatch(line)]
