"""More processes and threads: bombs, daemons, other programs."""

from hostile.case import (
    AC,
    CALL,
    EASY,
    LOOP,
    QUICK,
    RE,
    SLEEP,
    TLE,
    Hostile,
    Limits,
    number,
    syscall,
)  # fmt: skip

ROOMY = Limits(cpu_s=1.0, memory_mb=1024, output_kb=64)
DENIED = "PermissionError"

CASES = (
    Hostile(
        "fork-bomb",
        "forks for ever and ignores errors",
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "fork() is refused each time; CPU limit",
        TLE,
        limits=LOOP,
    ),
    Hostile(
        "fork-bomb-plain",
        "forks for ever",
        "import os\nwhile True: os.fork()",
        "PermissionError at the first",
        RE,
        limits=LOOP,
        says=DENIED,
    ),
    Hostile("fork", "one fork", "import os\nos.fork()", "PermissionError", RE, says=DENIED),
    Hostile(
        "fork-libc",
        "fork() of the C library",
        CALL + "if libc.fork() == -1: raise OSError(ctypes.get_errno(), 'fork')\nos._exit(0)",
        "EPERM",
        RE,
        says="[Errno 1]",
    ),
    Hostile(
        "clone-process",
        "clone() with no flag but SIGCHLD",
        CALL + f"if call({number('clone')}, 17, 0, 0, 0, 0) == 0: os._exit(0)\nprint('broke out')",
        "EPERM",
        RE,
        says="[Errno 1]",
    ),
    Hostile(
        "clone-namespace",
        "clone() into a new user namespace",
        CALL + f"if call({number('clone')}, 0x10000011, 0, 0, 0, 0) == 0: os._exit(0)\n",
        "EPERM",
        RE,
        says="[Errno 1]",
    ),
    Hostile(
        "clone3",
        "clone3(), whose flags no filter can read",
        CALL + "a = (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17)\n"
        f"if call({number('clone3')}, ctypes.byref(a), 64) == 0: os._exit(0)\nprint('broke out')",
        "ENOSYS, so that the C library falls back to clone()",
        RE,
        says="[Errno 38]",
    ),
    Hostile(
        "vfork",
        "vfork() by number",
        CALL + f"if call({number('vfork')}) == 0: os._exit(0)",
        "EPERM, or ENOSYS where there is none",
        RE,
        says="[Errno",
    ),
    Hostile(
        "fork-in-a-thread",
        "forks in a thread, then answers",
        "import os, threading\nt = threading.Thread(target=os.fork)\nt.start()\nt.join()\n"
        "print('ok')",
        "the thread dies of PermissionError, the answer counts",
        AC,
        limits=EASY,
        says=DENIED,
    ),
    Hostile(
        "fork-at-exit",
        "forks in an exit hook",
        "import atexit, os\nprint('ok')\natexit.register(os.fork)",
        "the hook's error is printed and ignored, as CPython does",
        AC,
        limits=EASY,
        says=DENIED,
    ),
    Hostile(
        "daemon",
        "double fork and setsid, writes after the end",
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        while True: os.write(1, b'late ')\n    os._exit(0)\nos.wait()\nprint('ok')",
        "PermissionError",
        RE,
        limits=LOOP,
        says=DENIED,
    ),
    Hostile(
        "daemon-quiet",
        "the same, but ignores errors and answers",
        "import os, time\ntry:\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            while True: os.write(1, b'late ')\n"
        "        os._exit(0)\nexcept OSError: pass\ntime.sleep(0.05)\nprint('ok')",
        "no daemon; the answer counts",
        AC,
        limits=EASY,
    ),
    Hostile(
        "setsid",
        "a session of its own",
        "import os\nos.setsid()",
        "PermissionError",
        RE,
        says=DENIED,
    ),
    Hostile(
        "waitid-others",
        "waits for somebody's children",
        "import os\nos.wait()",
        "no children",
        RE,
        says="[Errno",
    ),
    Hostile(
        "posix-spawn",
        "posix_spawn of a shell",
        "import os\nos.posix_spawn('/bin/sh', ['sh', '-c', 'echo ok'], {})",
        "PermissionError",
        RE,
        says="Error: [Errno",
    ),
    Hostile(
        "subprocess",
        "subprocess.run of a shell",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo ok'])",
        "PermissionError",
        RE,
        says=DENIED,
    ),
    Hostile(
        "subprocess-shell",
        "subprocess with shell=True, output taken",
        "import subprocess\nprint(subprocess.check_output('echo ok', shell=True, text=True))",
        "PermissionError",
        RE,
        says=DENIED,
    ),
    Hostile(
        "os-system",
        "os.system",
        "import os, sys\nsys.exit(os.system('echo ok') != 0)",
        "no shell runs",
        RE,
    ),
    Hostile(
        "os-popen",
        "os.popen",
        "import os\nprint(os.popen('echo ok').read())",
        "PermissionError",
        RE,
        says=DENIED,
    ),
    Hostile(
        "exec",
        "becomes the interpreter",
        "import os, sys\nos.execv(sys.executable, ['python', '-c', 'print(\"ok\")'])",
        "PermissionError or no such file",
        RE,
        says="Error: [Errno",
    ),
    Hostile(
        "exec-descriptor",
        "fexecve of an open library",
        "import os, array\nfd = os.open(array.__file__, 0)\nos.execve(fd, ['x'], {})",
        "PermissionError",
        RE,
        says="Error",
    ),
    Hostile(
        "exec-loader",
        "runs the dynamic loader",
        "import os\nfor p in ('/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1'):\n"
        "    if os.path.exists(p): os.execv(p, ['ld', '--version'])\nraise OSError(1, 'none')",
        "PermissionError",
        RE,
        says="Error",
    ),
    Hostile(
        "pty",
        "a terminal with a shell",
        "import pty\npty.spawn('/bin/sh')",
        "no terminals, no fork",
        RE,
        says="Error",
    ),
    Hostile(
        "multiprocessing",
        "multiprocessing.Process",
        "import multiprocessing as m\np = m.Process(target=print, args=('ok',))\n"
        "p.start()\np.join()",
        "PermissionError",
        RE,
        says=DENIED,
    ),
    Hostile(
        "multiprocessing-pool",
        "multiprocessing.Pool",
        "import multiprocessing as m\nprint(m.Pool(2).map(str, ['ok'])[0])",
        "no semaphores, no fork",
        RE,
        limits=ROOMY,
        says="Error",
    ),
    Hostile(
        "process-pool",
        "ProcessPoolExecutor",
        "from concurrent.futures import ProcessPoolExecutor as P\n"
        "with P(2) as p: print(*p.map(str, ['ok']))",
        "no semaphores, no fork",
        RE,
        limits=ROOMY,
        says="Error",
    ),
    Hostile(
        "thread-bomb",
        "threads without end, small stacks",
        "import threading, time\nthreading.stack_size(65536)\n"
        "while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "RuntimeError: can't start new thread",
        RE,
        limits=ROOMY,
        says="can't start new thread",
    ),
    Hostile(
        "thread-bomb-stubborn",
        "the same, ignoring the errors",
        "import threading, time\nthreading.stack_size(65536)\nwhile True:\n    try:\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "    except (RuntimeError, MemoryError): pass",
        "CPU limit",
        TLE,
        limits=LOOP,
    ),
    Hostile(
        "thread-bomb-recursive",
        "each thread starts threads",
        "import threading\nthreading.stack_size(65536)\ndef grow():\n    while True:\n"
        "        try: threading.Thread(target=grow).start()\n"
        "        except (RuntimeError, MemoryError): pass\ngrow()",
        "CPU limit",
        TLE,
        limits=LOOP,
    ),
    Hostile(
        "thread-bomb-low",
        "_thread.start_new_thread without end",
        "import _thread, time\n_thread.stack_size(65536)\n"
        "while True: _thread.start_new_thread(time.sleep, (9,))",
        "RuntimeError: can't start new thread",
        RE,
        limits=ROOMY,
        says="can't start new thread",
    ),
    Hostile(
        "pthread-bomb",
        "pthread_create past the interpreter",
        CALL + "for _ in range(10000):\n    t = ctypes.c_ulong()\n"
        "    e = libc.pthread_create(ctypes.byref(t), None, libc.pause, None)\n"
        "    if e: raise OSError(e, 'pthread_create')\nprint('broke out')",
        "EAGAIN",
        RE,
        limits=ROOMY,
        says="[Errno 11]",
    ),
    Hostile(
        "thread-left-asleep",
        "answers; a daemon thread sleeps on",
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\nprint('ok')",
        "ends at once",
        AC,
        limits=EASY,
    ),
    Hostile(
        "thread-left-busy",
        "answers; a daemon thread spins on",
        "import threading\ndef spin():\n    while True: pass\n"
        "threading.Thread(target=spin, daemon=True).start()\nprint('ok')",
        "ends at once",
        AC,
        limits=EASY,
    ),
    Hostile(
        "thread-never-joins",
        "answers; an ordinary thread sleeps on",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
        "print('ok')",
        "waits for it as CPython does; idle limit",
        TLE,
        limits=SLEEP,
    ),
    Hostile(
        "thread-spins",
        "answers; an ordinary thread spins on",
        "import threading\ndef spin():\n    while True: pass\n"
        "threading.Thread(target=spin).start()\nprint('ok')",
        "CPU limit",
        TLE,
        limits=LOOP,
    ),
    Hostile(
        "threads-share-the-burden",
        "eight threads in C without the lock, to hide CPU time",
        "import threading, zlib\ndata = bytes(1 << 20)\ndef spin():\n"
        "    while True: zlib.crc32(data)\n"
        "for _ in range(8): threading.Thread(target=spin).start()",
        "the CPU time of all threads counts",
        TLE,
        limits=LOOP,
    ),
    Hostile(
        "no-death-signal",
        "clears the parent-death signal, then answers",
        CALL + "libc.prctl(1, 0, 0, 0, 0)\nlibc.prctl(36, 1, 0, 0, 0)\nprint('ok')",
        "changes nothing",
        AC,
        limits=EASY,
    ),
    Hostile("kcmp", "compares itself with the zygote", syscall("kcmp", "1, 1, 0, 0, 0"),
            "EPERM", RE, says="[Errno 1]", limits=QUICK),
)  # fmt: skip
