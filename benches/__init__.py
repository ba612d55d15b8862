"""The benchmark of nnrs: `python -m benches` from the root of the repository.

- `rows`: everything that is measured, in order
- `training`: epochs, beside torch's and scikit-learn's own loops
- `functions`, `numpy_functions`, `torch_functions`: the functions of `nnrs.functional`
- `guest`: processor time after a call, and two processes at once
- `machine`, `report`, `plot`: what is written down
- `memory`: what training takes of it, and files that are larger (`python -m benches.memory`)

Steps and predictions, their contestants and how they are timed are part of `nnrs bench`.
"""
