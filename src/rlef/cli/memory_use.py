"""What this process takes of the machine's memory."""

import re
import sys
from pathlib import Path

_RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")


def memory_words() -> list[str]:
    """The memory of this process now, and the most that it took of a GPU's so far, if of any."""
    words = []
    resident = _resident_gb()
    if resident is not None:
        words.append(f"memory {resident:.1f} GB")
    peak = _gpu_peak_gb()
    if peak is not None:
        words.append(f"GPU peak {peak:.1f} GB")
    return words


def _resident_gb() -> float | None:
    try:
        match = _RESIDENT.search(Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(match[1]) * 1024 / 1e9 if match else None


def _gpu_peak_gb() -> float | None:
    """Of all GPUs of this process; ``None`` where it uses none, or torch is not loaded yet."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not getattr(cuda, "is_initialized", lambda: False)():
        return None
    peaks = (cuda.max_memory_allocated(device) for device in range(cuda.device_count()))
    return float(sum(peaks)) / 1e9
