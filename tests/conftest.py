"""One thread per test process: two processes with two threads each on two cores only wait."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
