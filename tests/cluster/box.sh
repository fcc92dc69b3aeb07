#!/bin/sh
# The first process of a node: its own mounts, processes and host name, so that every path of a
# real node (/etc/cni, /run/containerd, /var/lib/kubelet, ...) is this node's alone. When it ends,
# the kernel ends all that ran on the node and takes all mounts away.
#   box.sh NAME ROOT PROGRAMS [HIDDEN...]
# ROOT holds etc, opt, ovs and var; PROGRAMS is where the programs of Kubernetes are; HIDDEN are
# programs of this machine that cannot be started on the node.
set -eu
name=$1 root=$2 programs=$3
shift 3

mount --make-rprivate /
for hidden; do
    mount --bind /dev/null "$hidden"
done
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock /run/netns /run/openvswitch /run/programs
mount --bind "$root/ovs" /run/openvswitch
mount --bind "$programs" /run/programs
mount --bind "$root/etc" /etc
mount --bind "$root/opt" /opt
# The last of them: it may hide where the others come from.
mount --bind "$root/var" /var
mount -t proc proc /proc
# Containers see what is mounted later, as on a machine that systemd started.
mount --make-rshared /
hostname "$name"
touch /run/box-is-ready
# Ignored, so that the kernel reaps orphans: kept over exec.
trap '' CHLD
exec sleep infinity
