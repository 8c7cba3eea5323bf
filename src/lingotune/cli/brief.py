"""Collecting garbage rarely: imported first by commands that take a second or two.

They leave little of it. Looking for it at the default rate, and once more at the end, takes a fifth of the
time of a plan.
"""

import atexit
import gc

gc.set_threshold(50_000, 20, 100)
atexit.register(gc.freeze)  # what is frozen is left to the system
