#!/bin/sh
# Does the machine itself work? Two nodes as network namespaces, each with its own Open vSwitch on
# the kernel's datapath, joined by VXLAN, one pod each. Nothing of this project takes part, so when
# this fails, the machine is to blame:  python -m tests.kernel.run -- tests/kernel/smoke.sh
set -eu
cd "$(mktemp -d)"
schema=/usr/share/openvswitch/vswitch.ovsschema
step() { echo "$(cut -d' ' -f1 /proc/uptime) s: $*"; }
in_node() { node=$1 && shift && nsenter --net="/run/netns/$node" env OVS_RUNDIR="$PWD/$node" "$@"; }

node() { # NAME ADDRESS PEER POD-ADDRESS
	mkdir "$1"
	ip netns add "$1" && ip netns add "pod-$1"
	ip link add "to-$1" type veth peer name eth0 netns "$1"
	ip link set "to-$1" master underlay up
	ip -n "$1" link set lo up
	ip -n "$1" link set eth0 up
	ip -n "$1" address add "$2/24" dev eth0
	ip -n "$1" link add pod0 type veth peer name eth0 netns "pod-$1"
	ip -n "$1" link set pod0 up
	ip -n "pod-$1" address add "$4/24" dev eth0
	ip -n "pod-$1" link set eth0 mtu 1450 up
	ovsdb-tool create "$1/conf.db" $schema
	in_node "$1" ovsdb-server "$1/conf.db" --remote="punix:$PWD/$1/db.sock" --no-chdir \
		--detach --pidfile --log-file="$PWD/$1/ovsdb-server.log" -vconsole:off
	in_node "$1" ovs-vswitchd "unix:$PWD/$1/db.sock" --no-chdir \
		--detach --pidfile --log-file="$PWD/$1/ovs-vswitchd.log" -vconsole:off
	in_node "$1" ovs-vsctl --timeout=20 --db="unix:$PWD/$1/db.sock" --no-wait init
	in_node "$1" ovs-vsctl --timeout=20 --db="unix:$PWD/$1/db.sock" \
		-- add-br br0 -- set bridge br0 datapath_type=system -- add-port br0 pod0 \
		-- add-port br0 vxlan0 -- set interface vxlan0 type=vxlan options:remote_ip="$3"
}

step "python with this project's libraries"
python -c 'import google.protobuf, grpc, kubernetes, ovs, pyroute2'
step "k8s-ovs's entry points"
python -c 'from importlib.metadata import entry_points as e; print(*e(group="k8s_ovs.plugins"))'
step "etcd"
etcd --logger=zap --data-dir etcd >etcd.log 2>&1 &
timeout 30 sh -c 'until ETCDCTL_API=3 etcdctl put /works yes 2>/dev/null; do sleep 0.2; done'
step "two nodes"
ip link add underlay type bridge && ip link set underlay up
node one 192.168.0.11 192.168.0.12 172.11.0.1
node two 192.168.0.12 192.168.0.11 172.11.0.2
step "ping, both ways, a full segment not fragmented"
ip netns exec pod-one ping -c 3 -i 0.2 -W 5 172.11.0.2
ip netns exec pod-two ping -c 3 -i 0.2 -W 5 -M do -s 1422 172.11.0.1
in_node one ovs-appctl dpctl/dump-flows
step "iperf3"
ip netns exec pod-two iperf3 --server --one-off --daemon
ip netns exec pod-one timeout 30 iperf3 --client 172.11.0.2 --time 3 --connect-timeout 5000
step "address translation and traffic control of the kernel"
nft add table inet smoke
nft 'add chain inet smoke out { type nat hook postrouting priority 100; }'
nft add rule inet smoke out ip saddr 172.11.0.0/16 masquerade
iptables -t nat -A PREROUTING -d 10.96.0.1/32 -p tcp -j DNAT --to-destination 172.11.0.2
tc -n one qdisc add dev pod0 root tbf rate 10mbit burst 32k latency 50ms
tc -n one qdisc add dev pod0 ingress
tc -n one filter add dev pod0 ingress matchall action police rate 10mbit burst 64k conform-exceed drop
step "all works"
