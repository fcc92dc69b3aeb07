"""From what etcd and Kubernetes say to slots: what is valid, and since when?"""
