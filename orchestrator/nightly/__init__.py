"""The nightly gate: what a fixed set of runs gives tonight against the nights before.

model.py      a night as data
judging.py    verdicts by paired seeds, a minimum effect and the noise of earlier nights: pure functions
running.py    one night: trained anew in a store of its own, measured, judged, kept
history.py    the nights in a store
reports.py    JUnit XML, Markdown, the picture of the nights: pure functions; publishing.py: where they go
"""
