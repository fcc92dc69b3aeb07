"""What does an author type: `k8s-ovs plugin new` and `k8s-ovs plugin check`."""
