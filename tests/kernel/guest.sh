#!/bin/sh
# PID 1 of the machine: makes it a Linux like others, runs one command, powers off.
# Port 1 carries what the command says, as it says it; port 2 carries /results at the end, as tar.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
. /host/settings
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
for directory in /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 tmpfs $directory; done
mkdir -p /run/lock /run/netns
modprobe -a virtio_console openvswitch tun
said=$(echo /dev/vport*p1)
results=$(echo /dev/vport*p2)

ln -s /proc/self/fd /dev/fd
for stream in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${stream#*:}" "/dev/${stream%:*}"; done
hostname machine
echo '127.0.0.1 localhost machine' >/etc/hosts
ip link set lo up

mkdir -p "$TREE" /results
mount --bind /host/tree "$TREE"
mount -o noatime,ro /dev/vdc "$TREE/.venv"
cd "$TREE" || exit
export PATH="$TREE/.venv/bin:$PATH" RESULTS=/results PYTHONUNBUFFERED=1

now() { cut -d' ' -f1 /proc/uptime; }
began=$(now)
# A port opens once only, so that /dev/stdout would be busy: the command gets a pipe instead.
mkfifo /run/said
cat /run/said >"$said" &
timeout --kill-after=10 "$LIMIT_S" sh -c "$COMMAND" </dev/null >/run/said 2>&1
echo "$? $began $(now)" >/results/outcome
# The pipe ends with its last writer. Servers that the command left running are not waited for.
timeout 2 tail --pid=$! -f /dev/null
tar -C /results -cf "$results" .
busybox poweroff -f
