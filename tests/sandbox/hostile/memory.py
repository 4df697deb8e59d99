"""Memory in every form."""

from hostile.case import (
    AC,
    CALL,
    EASY,
    LOOP,
    MEMORY,
    MLE,
    NO_MEMORY,
    RE,
    TLE,
    Hostile,
    Limits,
    syscall,
)  # fmt: skip

HEAP = "MemoryError"
MAPPED = "the mapping is refused"
ROOMY = Limits(cpu_s=2.0, memory_mb=256, output_kb=64)

CASES = (
    Hostile("heap-once", "a bytearray of 1 GB", "bytearray(10**9)", HEAP, MLE),
    Hostile("heap-list", "a list of 10**9 references", "[0] * 10**9", HEAP, MLE),
    Hostile(
        "heap-pieces",
        "1 MB at a time, for ever",
        "x = []\nwhile True: x.append(bytearray(10**6))",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile(
        "heap-small-objects",
        "small objects, for ever",
        "x = None\nwhile True: x = (x, 0.5 + len('a'))",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile(
        "heap-dict",
        "a dict that grows for ever",
        "d, i = {}, 0\nwhile True: d[i] = i; i += 1",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile("heap-string", "doubles a string", "s = 'x'\nwhile True: s += s", HEAP, MLE),
    Hostile("heap-integer", "one integer of 12 GB", "x = 1 << 10**11", HEAP, MLE),
    Hostile("heap-range", "list(range(10**10))", "list(range(10**10))", HEAP, MLE),
    Hostile(
        "heap-iterator",
        "a deque of an endless iterator",
        "import collections, itertools\ncollections.deque(itertools.repeat(0))",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile("heap-format", "a number printed 10**10 wide", "f'{1:>{10**10}}'", HEAP, MLE),
    Hostile("heap-array", "array.array of 8 GB",
            "import array\narray.array('q', [0]) * 10**9", HEAP, MLE),
    Hostile(
        "heap-device",
        "reads /dev/zero to its end",
        "open('/dev/zero', 'rb').read()",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile(
        "heap-inflate",
        "a zlib bomb",
        "import zlib\nc = zlib.compressobj(1)\n"
        "d = b''.join(c.compress(bytes(10**6)) for _ in range(100)) + c.flush()\n"
        "zlib.decompress(d)",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile(
        "heap-threads",
        "four threads take 40 MB each",
        "import threading\nthreading.stack_size(1 << 18)\nkept = []\ndef take():\n"
        "    try: kept.append(bytearray(40 * 10**6))\n    except MemoryError: pass\n"
        "ts = [threading.Thread(target=take) for _ in range(4)]\n"
        "for t in ts: t.start()\nfor t in ts: t.join()\n"
        "if len(kept) < 4: raise MemoryError\nprint('broke out')",
        "threads share the limit",
        MLE,
        limits=MEMORY,
    ),
    Hostile(
        "heap-caught-for-ever",
        "goes on after each MemoryError",
        "while True:\n    try: bytearray(10**9)\n    except MemoryError: pass",
        "CPU limit",
        TLE,
        limits=LOOP,
    ),
    Hostile(
        "heap-caught",
        "catches MemoryError and answers",
        "try: bytearray(10**10)\nexcept MemoryError: print('ok')",
        "a right answer is a right answer",
        AC,
        limits=EASY,
    ),
    Hostile(
        "heap-caught-exit",
        "catches MemoryError and exits with 1",
        "try: bytearray(10**10)\nexcept MemoryError: raise SystemExit(1)",
        "an exit status, and little memory used",
        RE,
    ),
    Hostile("memory-error-by-hand", "raises MemoryError itself", "raise MemoryError", HEAP, MLE),
    Hostile(
        "mmap-private",
        "a private mapping of 1 GB",
        "import mmap\nmmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
        MAPPED,
        NO_MEMORY,
        says="[Errno 12]",
    ),
    Hostile(
        "mmap-shared",
        "a shared mapping of 1 GB",
        "import mmap\nmmap.mmap(-1, 1 << 30)",
        MAPPED,
        NO_MEMORY,
        says="[Errno 12]",
    ),
    Hostile(
        "mmap-pieces",
        "shared mappings of 4 MB, written to, for ever",
        "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 1 << 22))\n"
        "    for i in range(0, 1 << 22, 4096): x[-1][i] = 1",
        MAPPED,
        NO_MEMORY,
        limits=MEMORY,
        says="[Errno 12]",
    ),
    Hostile(
        "mmap-device",
        "maps 1 GB of /dev/zero",
        "import mmap, os\nmmap.mmap(os.open('/dev/zero', os.O_RDWR), 1 << 30)",
        MAPPED,
        NO_MEMORY,
        says="Errno",
    ),
    Hostile(
        "mmap-unreserved",
        "1 TB without reservation",
        CALL + "libc.mmap.restype = ctypes.c_long\n"
        "if libc.mmap(None, ctypes.c_size_t(1 << 40), 3, 0x4022, -1, 0) == -1:\n"
        "    raise OSError(ctypes.get_errno(), 'mmap')\nprint('broke out')",
        MAPPED,
        NO_MEMORY,
        says="[Errno 12]",
    ),
    Hostile(
        "sbrk",
        "moves the program break by 1 GB",
        CALL + "libc.sbrk.restype = ctypes.c_long\n"
        "if libc.sbrk(ctypes.c_long(1 << 30)) == -1: raise OSError(ctypes.get_errno(), 'sbrk')\n"
        "print('broke out')",
        "ENOMEM",
        NO_MEMORY,
        says="[Errno 12]",
    ),
    Hostile(
        "malloc-unchecked",
        "malloc of the C library, result not looked at",
        CALL + "libc.malloc.restype = ctypes.c_void_p\nwhile True:\n"
        "    p = libc.malloc(ctypes.c_size_t(1 << 20))\n"
        "    ctypes.memset(p or 0, 1, 1 << 20)",
        "a null pointer, SIGSEGV",
        NO_MEMORY,
        limits=MEMORY,
    ),
    Hostile(
        "memfd",
        "an anonymous file",
        "import os\nos.memfd_create('x')",
        "PermissionError",
        RE,
        says="PermissionError",
    ),
    Hostile(
        "memfd-raw",
        "the same by number, then 1 GB in it",
        syscall("memfd_create", "ctypes.c_char_p(b'x'), 0"),
        "EPERM",
        RE,
        says="[Errno 1]",
    ),
    Hostile("memfd-secret", "memfd_secret", syscall("memfd_secret", "0"), "refused", RE,
            says="[Errno"),
    Hostile(
        "sysv-shm",
        "a System V segment of 1 GB",
        syscall("shmget", "0, 1 << 30, 0o1600"),
        "EPERM",
        RE,
        says="[Errno 1]",
    ),
    Hostile(
        "sysv-shm-small",
        "System V segments of 4 kB",
        syscall("shmget", "0, 4096, 0o1600"),
        "EPERM",
        RE,
        says="[Errno 1]",
    ),
    Hostile("sysv-sem", "System V semaphores", syscall("semget", "0, 100, 0o1600"), "EPERM", RE,
            says="[Errno 1]"),
    Hostile("sysv-msg", "a System V message queue", syscall("msgget", "0, 0o1600"), "refused", RE,
            says="[Errno"),
    Hostile("posix-mq", "a POSIX message queue",
            syscall("mq_open", "ctypes.c_char_p(b'x'), 0o102, 0o600, 0"), "refused", RE,
            says="[Errno"),
    Hostile(
        "posix-shm",
        "multiprocessing.shared_memory of 1 GB",
        "from multiprocessing.shared_memory import SharedMemory\n"
        "SharedMemory(create=True, size=1 << 30)",
        "no /dev/shm",
        RE,
        says="Error",
    ),
    Hostile(
        "thread-stacks",
        "threads with stacks of 64 MB",
        "import threading, time\nthreading.stack_size(64 << 20)\n"
        "while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "RuntimeError: can't start new thread",
        RE,
        limits=ROOMY,
        says="can't start new thread",
    ),
    Hostile(
        "thread-stack-huge",
        "one thread with a stack of 4 GB",
        "import threading\nthreading.stack_size(1 << 32)\n"
        "threading.Thread(target=print, args=('ok',)).start()",
        "RuntimeError: can't start new thread",
        RE,
        says="can't start new thread",
    ),
    Hostile("mlockall", "locks all memory", syscall("mlockall", "3"), "refused", RE,
            says="[Errno"),
    Hostile(
        "raise-memory-limit",
        "lifts its own memory limit",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nbytearray(10**9)",
        "refused",
        RE,
        says="Error",
    ),
    Hostile(
        "raise-limit-raw",
        "prlimit on the zygote",
        "import resource\nresource.prlimit(1, resource.RLIMIT_AS, (1, 1))\nprint('broke out')",
        "PermissionError",
        RE,
        says="Error",
    ),
    Hostile(
        "kernel-memory-pipes",
        "fills pipes until no more can be had",
        "import fcntl, os\nwhile True:\n    r, w = os.pipe()\n    os.set_blocking(w, False)\n"
        "    try: fcntl.fcntl(w, 1031, 1 << 20)\n    except OSError: pass\n"
        "    try:\n        while True: os.write(w, bytes(1 << 16))\n"
        "    except BlockingIOError: pass",
        "at most 64 descriptors",
        RE,
        limits=Limits(cpu_s=2.0, memory_mb=128, output_kb=64),
        says="[Errno 24]",
    ),
    Hostile(
        "kernel-memory-sockets",
        "fills socket pairs until no more can be had",
        "import socket\nx = []\nwhile True:\n    a, b = socket.socketpair()\n    x += a, b\n"
        "    a.setblocking(False)\n    try:\n        while True: a.send(bytes(1 << 16))\n"
        "    except BlockingIOError: pass",
        "at most 64 descriptors",
        RE,
        says="[Errno 24]",
    ),
    Hostile(
        "numpy-zeros",
        "numpy.zeros of 80 GB",
        "import numpy\nnumpy.zeros(10**10)",
        HEAP,
        MLE,
        limits=EASY,
    ),
    Hostile(
        "numpy-growth",
        "numpy arrays for ever",
        "import numpy\nx = []\nwhile True: x.append(numpy.ones(10**6))",
        HEAP,
        MLE,
        limits=MEMORY,
    ),
    Hostile(
        "madvise-and-back",
        "takes 60 MB and gives it back, fifty times",
        "for _ in range(50): bytes(60 * 10**6)\nprint('ok')",
        "within the limit at each moment",
        AC,
        limits=EASY,
    ),
    Hostile("recursion-unlimited", "recursion without a limit",
            "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
            "memory or the stack ends", NO_MEMORY, limits=MEMORY),
    Hostile("exception-chain", "each error keeps the one before, with 1 MB",
            "e = None\nwhile True:\n    n = ValueError(bytearray(10**6))\n"
            "    n.__context__ = e\n    e = n", HEAP, MLE, limits=MEMORY),
)  # fmt: skip
