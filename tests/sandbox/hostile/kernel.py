"""The rest of the kernel's surface: system calls that no solution needs."""

from dataclasses import replace

from hostile.case import CALL, RE, Hostile, number, syscall

BUFFER = "ctypes.create_string_buffer(256)"
EPERM = (
    ("ptrace-me", "asks to be traced", "ptrace", "0, 0, 0, 0"),
    ("mount-tmpfs", "mounts a tmpfs over /usr", "mount",
     "b'none', b'/usr', b'tmpfs', 0, None"),
    ("mount-proc", "mounts /proc", "mount", "b'proc', b'/dev', b'proc', 0, None"),
    ("remount", "remounts / for writing", "mount", "None, b'/', None, 0x20, None"),
    ("unmount", "unmounts /", "umount2", "b'/', 2"),
    ("pivot-root", "pivot_root", "pivot_root", "b'/', b'/'"),
    ("chroot", "chroot", "chroot", "b'/usr'"),
    ("unshare-user", "a new user namespace", "unshare", "0x10000000"),
    ("unshare-net", "a new network namespace", "unshare", "0x40000000"),
    ("unshare-files", "its own copy of the file table", "unshare", "0x400"),
    ("setns", "enters a namespace", "setns", "0, 0"),
    ("fsopen", "the new mount calls", "fsopen", "b'tmpfs', 0"),
    ("open-tree", "a copy of the mount tree", "open_tree", "-100, b'/', 1"),
    ("mount-setattr", "makes / writable", "mount_setattr", f"-100, b'/', 0x8000, {BUFFER}, 32"),
    ("io-uring", "io_uring, system calls past the filter", "io_uring_setup", f"4, {BUFFER}"),
    ("io-uring-enter", "io_uring on a descriptor", "io_uring_enter", "3, 1, 1, 0, 0, 0"),
    ("userfaultfd", "userfaultfd", "userfaultfd", "1"),
    ("bpf", "loads a BPF map", "bpf", f"0, {BUFFER}, 72"),
    ("perf-event", "perf_event_open", "perf_event_open", f"{BUFFER}, 0, -1, -1, 0"),
    ("keyctl", "its key ring", "keyctl", "0, -3, 1"),
    ("add-key", "adds a key for others to find", "add_key", "b'user', b'x', b'ok', 2, -3"),
    ("request-key", "asks for a key", "request_key", "b'user', b'x', None, 0"),
    ("inotify", "inotify", "inotify_init1", "0"),
    ("fanotify", "fanotify", "fanotify_init", "0, 0"),
    ("sched-setparam", "sched_setparam", "sched_setparam", "0, (ctypes.c_int * 1)(0)"),
    ("sched-setattr", "SCHED_DEADLINE", "sched_setattr", f"0, {BUFFER}, 0"),
    ("pidfd-itself", "a pidfd of itself", "pidfd_open", "os.getpid(), 0"),
    ("process-vm-itself", "process_vm_readv on itself", "process_vm_readv",
     "os.getpid(), None, 0, None, 0, 0"),
)  # fmt: skip
REFUSED = (
    ("setuid", "setuid(0)", "setuid", "0"),
    ("setgid", "setgid(0)", "setgid", "0"),
    ("setgroups", "setgroups", "setgroups", "0, None"),
    ("setresuid", "setresuid(0, 0, 0)", "setresuid", "0, 0, 0"),
    ("capset", "takes all capabilities", "capset",
     "(ctypes.c_uint * 2)(0x20080522, 0), (ctypes.c_uint * 6)(*[0xFFFFFFFF] * 6)"),
    ("ioprio", "real-time disk priority", "ioprio_set", "1, 0, 1 << 13"),
    ("sethostname", "renames the machine", "sethostname", "b'x', 1"),
    ("clock", "sets the clock", "clock_settime", "0, (ctypes.c_long * 2)(0, 0)"),
    ("settimeofday", "sets the clock, the old way", "settimeofday",
     "(ctypes.c_long * 2)(0, 0), None"),
    ("reboot", "reboots", "reboot", "0xfee1dead, 672274793, 0x1234567, 0"),
    ("kexec", "loads another kernel", "kexec_load", "0, 0, 0, 0"),
    ("module", "loads a kernel module", "init_module", f"{BUFFER}, 99, b''"),
    ("module-file", "loads a kernel module from a file", "finit_module", "0, b'', 0"),
    ("swap", "swaps to a file", "swapon", "b'/dev/zero', 0"),
    ("accounting", "process accounting", "acct", "b'/dev/null'"),
    ("quota", "disk quotas", "quotactl", "0x800001, None, 0, None"),
    ("open-by-handle", "opens files past the mount tree", "open_by_handle_at",
     f"-100, {BUFFER}, 0"),
    ("migrate-pages", "moves the memory of the zygote", "migrate_pages", "1, 0, None, None"),
    ("vhangup", "hangs up the terminal", "vhangup", ""),
    ("no-such-call", "a system call that does not exist", "no_such_call", "0"),
)  # fmt: skip
PYTHON = (
    ("fifo", "real-time scheduling", "import os\nos.sched_setscheduler(0, os.SCHED_FIFO, "
     "os.sched_param(1))"),
    ("round-robin", "real-time scheduling, round robin",
     "import os\nos.sched_setscheduler(0, os.SCHED_RR, os.sched_param(99))"),
    ("batch", "batch scheduling, to disturb the measurement",
     "import os\nos.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"),
    ("nice-up", "a higher priority", "import os\nos.nice(-5)"),
    ("nice-down", "a lower priority, to look idle", "import os\nos.nice(5)"),
    ("priority-of-others", "lowers the zygote's priority",
     "import os\nos.setpriority(os.PRIO_PROCESS, 1, 19)"),
    ("affinity", "pins itself to one core", "import os\nos.sched_setaffinity(0, {0})"),
    ("affinity-of-others", "pins the zygote to one core",
     "import os\nos.sched_setaffinity(1, {0})"),
)  # fmt: skip
WRITE_CODE = (
    CALL
    + """\
import mmap
m = mmap.mmap(-1, 4096, prot=7)
m.write(bytes.fromhex('{code}'))
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
r = f()
if -4096 < r < 0: raise OSError(-r, os.strerror(-r))
if r == 0: os._exit(0)
print('broke out')
"""
)
X86 = (
    Hostile("x32-fork", "fork by the x32 numbers", CALL + "if call(0x40000000 | 57) == 0: "
            "os._exit(0)\nprint('broke out')", "refused", RE),
    Hostile("x32-socket", "socket by the x32 numbers",
            CALL + "call(0x40000000 | 41, 2, 1, 0)\nprint('broke out')", "refused", RE),
    Hostile("i386-fork", "fork by int 0x80", WRITE_CODE.format(code="b802000000cd80c3"),
            "refused, or the process dies", RE),
    Hostile("i386-socket", "socket by int 0x80",
            # push rbx; eax 359, ebx 2, ecx 1, edx 0; int 0x80; pop rbx; ret
            WRITE_CODE.format(code="53b867010000bb02000000b90100000031d2cd805bc3"),
            "refused, or the process dies", RE),
    Hostile("iopl", "the machine's ports", syscall("iopl", "3"), "refused", RE, says="[Errno"),
    Hostile("ioperm", "one port", syscall("ioperm", "0, 1, 1"), "refused", RE, says="[Errno"),
    Hostile("modify-ldt", "a segment of its own", syscall("modify_ldt", f"1, {BUFFER}, 16"),
            "refused", RE, says="[Errno"),
)  # fmt: skip

CASES = (
    *(Hostile(n, a, syscall(c, x), "EPERM", RE, says="[Errno 1]") for n, a, c, x in EPERM),
    *(Hostile(n, a, syscall(c, x), "refused", RE, says="[Errno") for n, a, c, x in REFUSED),
    *(Hostile(n, a, s + "\nprint('broke out')", "PermissionError", RE, says="PermissionError")
      for n, a, s in PYTHON),
    *(replace(case, machine="x86_64") for case in X86),
    Hostile("regain-filter", "installs a filter that allows everything",
            CALL + "import struct\np = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, "
            "0x7FFF0000), 8)\nf = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, "
            "ctypes.addressof(p)), 16)\nlibc.prctl(22, 2, f)\n"
            f"call({number('socket')}, 2, 1, 0)\nprint('broke out')", "filters only add up", RE,
            says="[Errno 1]"),
)  # fmt: skip
