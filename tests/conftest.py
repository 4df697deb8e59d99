"""Threads of the tests' processes: as many in all as there are cores.

More would wait for each other at every step of torch (measured: four times slower).
"""

import os

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))
