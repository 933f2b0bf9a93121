"""The whole server in simulated time: nodes, telephone network, engines, faults, all drawn from one seed.

`world.py` is the place to begin; `python -m tests.simulation SEED` runs one seed and says what became of it.
"""
