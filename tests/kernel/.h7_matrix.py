import sys
import time

from k8s_ovs.lab import Lab

lab = Lab.open("lab")


def t(what, f):
    s = time.time()
    try:
        r = f()
        print(f"ok   {what} {1000 * (time.time() - s):.0f} ms {r if r is not None else ''}")
    except Exception as e:
        print(f"FAIL {what}: {str(e)[:400]}")
        r = None
    return r


have = lab.pods()
for n, name in (("node1", "a"), ("node1", "b"), ("node2", "c")):
    if f"default/{name}" not in have:
        t(f"run {name}", lambda: lab.run_pod(n, name).ip)
p = {x.name: x for x in lab.pods().values()}
print({k: str(v.ip) for k, v in p.items()})
ping = lambda w, ip, *o: t(
    f"ping {w} -> {ip} {o}",
    lambda: lab.exec(w, ["ping", "-c2", "-i0.2", "-W2", *o, str(ip)]).stdout.splitlines()[-1],
)
for x, y in (("a", "b"), ("a", "c"), ("c", "a")):
    ping(x, p[y].ip)
    ping(x, p[y].ip, "-M", "do", "-s", "1422")
for n in ("node1", "node2"):
    for y in p:
        ping(n, p[y].ip)
for y in p:
    for ip in ("192.168.0.11", "192.168.0.12", "203.0.113.10"):
        ping(y, ip)
ping("a", "203.0.113.10", "-M", "do", "-s", "1422")
SERVER = """
import socket, sys
s = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
while True:
    c, a = s.accept(); c.sendall(f"{a[0]} {sys.argv[2]}".encode()); c.close()
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4) as c: print(c.recv(100).decode())
"""
procs = [
    lab.spawn(w, [sys.executable, "-Ic", SERVER, "8080", w])
    for w in ("a", "b", "c", "outside", "node2")
]
for q in procs:
    q.stdout.readline()
tcp = lambda w, ip, port: t(
    f"tcp {w} -> {ip}:{port}",
    lambda: lab.exec(w, [sys.executable, "-Ic", CLIENT, str(ip), str(port)]).stdout.strip(),
)
for w, ip in (
    ("a", p["b"].ip),
    ("a", p["c"].ip),
    ("c", p["a"].ip),
    ("node1", p["a"].ip),
    ("node1", p["c"].ip),
    ("a", "203.0.113.10"),
    ("a", "192.168.0.12"),
    ("c", "192.168.0.12"),
):
    tcp(w, ip, 8080)
if "default/s1" not in {f"{s.namespace}/{s.name}" for s in lab.services()}:
    lab.service("s1", 80, ["c:8080"])
    lab.service("s3", 80, ["a:8080", "b:8080", "c:8080"])
    lab.service("self", 80, ["a:8080"])
svc = {s.name: s.address for s in lab.services()}
for w in ("a", "b", "c", "node1", "node2"):
    tcp(w, svc["s1"], 80)
for i in range(6):
    tcp("a", svc["s3"], 80)
tcp("a", svc["self"], 80)
for q in procs:
    q.kill()
    q.wait()
    q.stdout.close()


def iperf(srv, cl, ip, *o):
    s = lab.spawn(srv, ["iperf3", "-s", "-1"])
    time.sleep(0.5)
    t(
        f"iperf {cl}->{srv} {o}",
        lambda: lab.exec(cl, ["iperf3", "-t2", "-c", str(ip), *o]).stdout.splitlines()[-3],
    )
    s.kill()
    s.wait()
    s.stdout.close()


iperf("b", "a", p["b"].ip)
iperf("c", "a", p["c"].ip)
iperf("a", "c", p["a"].ip)
iperf("outside", "a", "203.0.113.10")
iperf("c", "a", p["c"].ip, "-u", "-b", "50M")
