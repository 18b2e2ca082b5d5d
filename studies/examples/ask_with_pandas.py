"""Ask a study with pandas: which confirmed configurations beat a size and an accuracy, and how much do seeds matter?

python studies/examples/ask_with_pandas.py pare-results/studies/comparison/results.parquet
"""

from __future__ import annotations

import sys

if len(sys.argv) != 2:
    sys.exit(__doc__)

import pandas as pd

results = pd.read_parquet(sys.argv[1])
confirmed = results[(results.phase == "confirm") & (results.status == "finished") & (results.kind != "module")]
by_configuration = confirmed.groupby(["task", "method", "trial", "variant"])
table = by_configuration.agg(
    seeds=("seed", "nunique"),
    size=("stored_bytes_ratio", "mean"),
    test=("test_score", "mean"),
    spread=("test_score", "std"),
    gap=("val_score", "mean"),
)
table["gap"] -= table["test"]
small = table[(table["size"] < 0.5)].sort_values("test", ascending=False)
print(small.head(15).round(4).to_string() if len(small) else "nothing under half the dense network's size")
