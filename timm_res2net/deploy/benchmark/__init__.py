"""How fast all the ways to run a Res2Net are on this machine: `timm-res2net benchmark`.

Everything that is compared runs in turns within one process, and medians are given as ratios: timings of different
runs say nothing.
"""
