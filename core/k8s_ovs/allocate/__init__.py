"""Who may write records to etcd, and how: one leader, and compare-and-swap for each allocation."""
