"""How fast all the ways to run a Res2Net are on this machine: `timm-res2net benchmark`.

Inference on a CPU is measured as a user has it: every file is made by the public call, in a process of its own, and
every path measured in another that does nothing else, in rounds that take turns (`rounds.py`). The other parts compare
within one process, in turns (`timing.py`). Timings of different runs say nothing: medians are given as ratios.
"""
