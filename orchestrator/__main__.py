"""`python -m orchestrator`: the command `pare`, for those who know the interpreter and not where scripts lie."""

from orchestrator.cli import main

main()
