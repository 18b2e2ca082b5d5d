"""Ray clusters: whether a description of one will do, and studies as jobs of a cluster.

check.py      cluster.yaml, without touching a machine
manifest.py   a study as KubeRay's RayJob, the nightly gate as a CronJob
tree.py       the working tree that a study is sent with
jobs.py       submit, logs, cancel, wait, through Ray's job API
"""
