"""Signals: ignored, blocked, sent to others; timers."""

from hostile.case import AC, CALL, EASY, LOOP, RE, SLEEP, TLE, Hostile, number, syscall

CASES = (
    Hostile("ignore-all", "ignores every signal and loops",
            "import signal\nfor s in signal.valid_signals():\n"
            "    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n"
            "while True: pass", "CPU limit", TLE, limits=LOOP),
    Hostile("block-all", "blocks every signal and loops",
            "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
            "while True: pass", "CPU limit", TLE, limits=LOOP),
    Hostile("handle-all", "handles every signal and loops",
            "import signal\nfor s in signal.valid_signals():\n"
            "    try: signal.signal(s, lambda *a: None)\n    except OSError: pass\n"
            "while True: pass", "CPU limit", TLE, limits=LOOP),
    Hostile("cancel-timers", "cancels all timers and loops",
            "import signal\nwhile True:\n    signal.alarm(0)\n"
            "    for t in (0, 1, 2): signal.setitimer(t, 0)", "CPU limit", TLE, limits=LOOP),
    Hostile("ignore-xcpu", "ignores SIGXCPU, SIGPROF and SIGALRM",
            "import signal\nfor n in ('XCPU', 'PROF', 'ALRM', 'VTALRM', 'TERM', 'HUP', 'INT'):\n"
            "    signal.signal(getattr(signal, 'SIG' + n), signal.SIG_IGN)\nwhile True: pass",
            "CPU limit", TLE, limits=LOOP),
    Hostile("handle-kill", "a handler for SIGKILL",
            "import signal\nsignal.signal(signal.SIGKILL, lambda *a: None)", "refused", RE,
            says="[Errno 22]"),
    Hostile("pause", "waits for a signal that never comes",
            "import signal\nwhile True: signal.pause()", "idle or CPU limit", TLE, limits=SLEEP),
    Hostile("ignore-and-sleep", "ignores SIGTERM and sleeps",
            "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)",
            "idle limit", TLE, limits=SLEEP),
    Hostile("stop-itself", "stops itself with SIGSTOP",
            "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "idle limit", TLE,
            limits=SLEEP),
    Hostile("kill-itself", "SIGKILL to itself after the answer",
            "import os\nprint('ok', flush=True)\nos.kill(os.getpid(), 9)", "died of SIGKILL", RE,
            says="SIGKILL"),
    Hostile("terminate-itself", "SIGTERM to itself after the answer",
            "import signal\nprint('ok', flush=True)\nsignal.raise_signal(signal.SIGTERM)",
            "died of SIGTERM", RE, says="SIGTERM"),
    Hostile("interrupt-itself", "SIGINT to itself after the answer",
            "import signal\nprint('ok', flush=True)\nsignal.raise_signal(signal.SIGINT)",
            "died of SIGINT", RE),
    Hostile("fake-cpu-signal", "SIGXCPU to itself, as if the time were up",
            "import signal\nsignal.raise_signal(signal.SIGXCPU)", "a signal like others", RE),
    Hostile("fake-output-signal", "SIGXFSZ to itself, as if it had printed too much",
            "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
            "signal.raise_signal(signal.SIGXFSZ)",
            "taken for what it pretends, or a signal like others", ("OLE", "RE")),
    Hostile("kill-zygote", "SIGKILL to process 1", "import os\nos.kill(1, 9)", "PermissionError",
            RE, says="PermissionError"),
    Hostile("stop-parent", "SIGSTOP to the parent",
            "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)", "PermissionError", RE,
            says="Error: [Errno"),
    Hostile("kill-everybody", "SIGKILL to everybody", "import os\nos.kill(-1, 9)",
            "PermissionError", RE, says="PermissionError"),
    Hostile("kill-group", "SIGKILL to its process group",
            "import os\nprint('ok', flush=True)\nos.killpg(os.getpgrp(), 9)",
            "refused, or only itself", RE),
    Hostile("kill-low-pids", "SIGKILL to processes 2 to 30000, errors ignored",
            "import os\nfor p in range(2, 30000):\n    try:\n"
            "        if p != os.getpid(): os.kill(p, 9)\n    except OSError: pass\nprint('ok')",
            "nobody is hit; the answer counts", AC, limits=EASY),
    Hostile("tgkill-zygote", "tgkill of process 1", syscall("tgkill", "1, 1, 9"), "refused", RE,
            says="[Errno"),
    Hostile("tkill-zygote", "tkill of process 1", syscall("tkill", "1, 9"), "refused", RE,
            says="[Errno"),
    Hostile("sigqueue-zygote", "a forged signal to process 1",
            syscall("rt_sigqueueinfo", "1, 9, (ctypes.c_int * 32)(9, 0, -1)"), "EPERM", RE,
            says="[Errno 1]"),
    Hostile("pidfd-zygote", "a pidfd of process 1", syscall("pidfd_open", "1, 0"), "EPERM", RE,
            says="[Errno 1]"),
    Hostile("pidfd-signal", "pidfd_send_signal",
            CALL + "import signal\n"
            f"call({number('pidfd_send_signal')}, 0, 9, 0, 0)", "EPERM", RE, says="[Errno 1]"),
    Hostile("owner-signal", "asks the kernel to signal process 1 on input",
            "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, 1)\n"
            "fcntl.fcntl(r, 10, 9)\nfcntl.fcntl(r, fcntl.F_SETFL, 0o20000)\nos.write(w, b'x')\n"
            "print('ok')", "refused, or without effect", ("AC", "RE"), limits=EASY),
    Hostile("handler-loops", "a handler that never returns",
            "import signal, time\ndef f(*a):\n    while True: pass\n"
            "signal.signal(signal.SIGALRM, f)\nsignal.setitimer(0, 0.01)\ntime.sleep(99)",
            "CPU limit", TLE, limits=LOOP),
    Hostile("alarm-storm", "a timer every 10 microseconds, then loops",
            "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\n"
            "signal.setitimer(0, 1e-5, 1e-5)\nwhile True: pass", "CPU limit", TLE, limits=LOOP),
    Hostile("alarm-unhandled", "an alarm with no handler",
            "import signal, time\nsignal.setitimer(0, 0.01)\ntime.sleep(9)", "died of SIGALRM", RE,
            says="SIGALRM"),
    Hostile("segv-ignored", "ignores SIGSEGV, then reads address 0",
            "import ctypes, signal\nsignal.signal(signal.SIGSEGV, signal.SIG_IGN)\n"
            "ctypes.string_at(0)", "died of SIGSEGV", RE, says="SIGSEGV"),
    Hostile("segv-handled", "a Python handler for SIGSEGV, then reads address 0",
            "import ctypes, signal\nsignal.signal(signal.SIGSEGV, lambda *a: None)\n"
            "ctypes.string_at(0)", "the fault repeats for ever; CPU limit", TLE, limits=LOOP),
    Hostile("faulthandler-exit", "a watchdog that ends the process",
            "import faulthandler, time\nprint('ok', flush=True)\n"
            "faulthandler.dump_traceback_later(0.02, exit=True)\ntime.sleep(9)",
            "exit status 1", RE, limits=EASY),
    Hostile("faulthandler-crash", "crashes by means of the standard library",
            "import faulthandler\nfaulthandler._sigsegv()", "died of SIGSEGV", RE, says="SIGSEGV"),
    Hostile("abort", "abort after the answer", "import os\nprint('ok', flush=True)\nos.abort()",
            "died of SIGABRT", RE, says="SIGABRT"),
    Hostile("alarm-cuts-a-loop", "an alarm that raises out of a loop, then answers",
            "import signal\nclass Late(Exception): pass\ndef late(*a): raise Late\n"
            "signal.signal(signal.SIGALRM, late)\n"
            "try:\n    signal.setitimer(signal.ITIMER_REAL, 0.02)\n    while True: sum(range(99))\n"
            "except Late: print('ok')", "accepted", AC, limits=EASY),
)  # fmt: skip
