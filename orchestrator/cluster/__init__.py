"""Ray clusters: whether a description of one will do, manifests for Kubernetes, studies as jobs of a cluster.

check.py      cluster.yaml, without touching a machine
"""
