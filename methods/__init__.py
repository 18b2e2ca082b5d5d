"""Methods that make neural networks smaller or modular, and the one ruler that grades them all.

This package also works in a notebook: it needs torch, numpy, pydantic and pyarrow, and knows nothing of the
orchestrator. Importing it loads none of them; import the submodule you need.
"""
