"""The viewer: runs and rollouts in a browser. Reads run folders only, and writes nothing there.

Start at ``app.py``. Needs ``duckdb``, ``starlette`` and ``uvicorn`` (the extra ``view``), no torch.
"""
