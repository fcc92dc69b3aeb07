"""Who may write records to etcd, and how: one seat, and compare-and-swap for each allocation."""
