"""The nightly gate: what a fixed set of runs gives tonight against the nights before.

model.py      a night as data
judging.py    verdicts by paired seeds, a minimum effect and the noise of earlier nights: pure functions
"""
