"""What every test process begins with."""

import os

from hypothesis import settings

# Two processes with two threads each on two cores would only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long one example takes says more of the machine than of the code; whole tests have a limit.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
