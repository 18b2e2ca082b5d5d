"""Ask a study with SQL, through DuckDB: for each method, its cheapest network within two points of dense.

pip install duckdb
python studies/examples/ask_with_sql.py pare-results/studies/comparison/results.parquet
"""

from __future__ import annotations

import sys

if len(sys.argv) != 2:
    sys.exit(__doc__)

import duckdb

QUERY = """
with confirmed as (
    select task, method, trial, variant, avg(test_score) as test, avg(macs) as macs, count(distinct seed) as seeds
    from read_parquet($file) where phase = 'confirm' and status = 'finished' and kind <> 'module' group by all
), dense as (
    select task, max(test) as reference from confirmed where method = 'dense' group by task
)
select task, method, arg_min(variant, macs) as variant, min(macs)::bigint as macs, arg_min(test, macs) as test
from confirmed join dense using (task) where test >= reference - 0.02 group by task, method order by task, macs
"""

for row in duckdb.execute(QUERY, {"file": sys.argv[1]}).fetchall():
    print("{:12} {:20} {:16} {:>12,} {:.4f}".format(*row))
