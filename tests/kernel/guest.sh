#!/bin/sh
# PID 1 of the machine: makes it a Linux like others, runs one command, powers off.
# Port 1 carries what the command says, as it says it; port 2 carries /results at the end, as tar.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
. /host/settings
modprobe -a virtio_console openvswitch
said=$(echo /dev/vport*p1)
results=$(echo /dev/vport*p2)

mount -t devpts -o gid=5,mode=620 devpts /dev/pts 2>/dev/null ||
	{ mkdir -p /dev/pts && mount -t devpts devpts /dev/pts; }
mkdir -p /dev/shm /run/lock /run/netns
for directory in /dev/shm /tmp; do mount -t tmpfs -o mode=1777 tmpfs $directory; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
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
timeout --kill-after=10 "$LIMIT_S" sh -c "$COMMAND" </dev/null >"$said" 2>&1
echo "$? $began $(now)" >/results/outcome
tar -C /results -cf "$results" .
busybox poweroff -f
