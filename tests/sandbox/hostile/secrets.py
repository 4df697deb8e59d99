"""Programs in search of the expected output, of other programs and of the judge's data."""

from hostile.case import AC, CALL, EASY, MARK, RE, SECRET, WA, Hostile, Limits, number

WIDE = Limits(cpu_s=5.0, memory_mb=512, output_kb=1024)
PRINT = f"""
mark = {MARK}
def show(text):
    at = text.find(mark)
    while at >= 0:
        print(text[at:at + 40])
        at = text.find(mark, at + 1)
"""
SCAN = (
    CALL
    + """
r, w = os.pipe()
def page(address):
    if libc.write(w, ctypes.c_void_p(address), ctypes.c_size_t(4096)) == 4096:
        return os.read(r, 4096)
    return b''
def scan(start, end):
    mark, before = b'dle-', b''
    for address in range(start & ~4095, end, 4096):
        now = page(address)
        text = before + now
        at = text.find(b'nee' + mark)
        while at >= 0:
            os.write(1, text[at:at + 40] + b'\\n')
            at = text.find(b'nee' + mark, at + 1)
        before = now[-32:]
"""
)
HEAP = (
    SCAN
    + """
libc.sbrk.restype = ctypes.c_long
top = libc.sbrk(0)
scan(top - (16 << 20), top)
here = id(object())
scan(here - (16 << 20), here + (16 << 20))
"""
)
OBJECTS = (
    PRINT
    + """
import gc
gc.unfreeze() if hasattr(gc, 'unfreeze') else None
seen, todo = set(), gc.get_objects()
while todo and len(seen) < 300000:
    one = todo.pop()
    if id(one) in seen: continue
    seen.add(id(one))
    if type(one) is str: show(one)
    elif type(one) in (bytes, bytearray): show(bytes(one).decode('latin-1'))
    else: todo += gc.get_referents(one)
"""
)
FILES = ("/proc/self/maps", "/proc/self/mem", "/proc/self/environ", "/proc/1/environ",
         "/proc/1/cmdline", "/proc/1/mem", "/proc/net/tcp", "/sys/kernel/notes", "/etc/passwd",
         "/etc/hostname", "/dev/mem", "/dev/kmsg", "/dev/tty", "/dev/shm/x")  # fmt: skip


def seek(name: str, attack: str, source: str, **rest: object) -> Hostile:
    words = {"wanted": SECRET, "limits": WIDE, **rest}
    return Hostile(name, attack, source, "finds nothing", WA, **words)  # type: ignore[arg-type]


def refused(name: str, attack: str, source: str, says: str, expectation: str) -> Hostile:
    return Hostile(name, attack, source, expectation, RE, wanted=SECRET, says=says)


CASES = (
    seek("frames", "reads the frames of its callers",
         PRINT + "import sys\nf = sys._getframe()\nwhile f:\n"
         "    show(repr(f.f_locals)); show(repr(f.f_globals)); f = f.f_back"),
    seek("frames-of-an-error", "reads frames through a traceback",
         PRINT + "try: 1 / 0\nexcept Exception as e: f = e.__traceback__.tb_frame\n"
         "while f: show(repr(f.f_locals)); f = f.f_back"),
    seek("frames-of-threads", "reads the frames of all threads",
         PRINT + "import sys\nfor f in sys._current_frames().values():\n"
         "    while f: show(repr(f.f_locals)); f = f.f_back"),
    seek("gc-objects", "reads every object that the collector knows", OBJECTS),
    seek("gc-referrers", "walks the referrers of its own globals",
         PRINT + "import gc\ntodo, seen = [globals()], set()\nfor _ in range(200):\n"
         "    if not todo: break\n    one = todo.pop()\n"
         "    for r in gc.get_referrers(one):\n        if id(r) not in seen:\n"
         "            seen.add(id(r)); todo.append(r)\n"
         "            if type(r) in (dict, list, tuple): show(repr(r)[:10**5])"),
    seek("modules", "reads every module's globals",
         PRINT + "import sys\nfor m in list(sys.modules.values()): show(repr(vars(m)))"),
    seek("memory", "scans its heap, byte for byte", HEAP),
    seek("stack", "scans its stack up to the first process's environment",
         SCAN + "a = ctypes.c_long.in_dll(libc, 'environ').value\nx = ctypes.c_char(0)\n"
         "scan(ctypes.addressof(x) - (1 << 20), ctypes.addressof(x) + (1 << 20))\n"
         "scan(a - (1 << 20), a + (1 << 20))\n"
         "s = ctypes.c_long.in_dll(libc, '__libc_stack_end').value\n"
         "scan(s - (1 << 16), s + (1 << 16))"),
    seek("environment", "prints its environment",
         "import os\nprint(os.environ)\nprint(os.environb)"),
    seek("environment-in-c", "prints the environment of the C library",
         "import ctypes\ne = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')\n"
         "i = 0\nwhile e and e[i]: print(e[i]); i += 1"),
    seek("arguments", "prints how the interpreter was started",
         "import sys\nprint(sys.argv, sys.orig_argv, sys.path, sys._xoptions, sys.flags)"),
    seek("descriptors", "reads every descriptor",
         "import os\nfor fd in range(3, 5000):\n    try: print(os.pread(fd, 10**5, 0))\n"
         "    except OSError: pass"),
    seek("files", "lists the places where data might be",
         "import os\nfor p in ('/', '/tmp', '/home', '/root', '/work', '/var', '/etc', '/opt',\n"
         "          '/srv', '/run', '/mnt', '/dev', '/dev/shm', '/box', '/packages', '.', '..'):\n"
         "    for folder, inner, names in os.walk(p):\n"
         "        if '/lib' in folder or folder.count('/') > 3:\n"
         "            inner.clear(); continue\n"
         "        for n in names:\n            if n.endswith(('json', 'txt', 'py', 'out')):\n"
         "                print(open(f'{folder}/{n}').read()[:2000])"),
    seek("names", "its own module, loader and code",
         PRINT + "import sys, linecache\nshow(repr(globals())); show(repr(linecache.cache))\n"
         "show(repr(sys._getframe().f_code.co_consts))"),
    seek("stdin-beyond", "reads its input beyond the end",
         "import os\nprint(os.read(0, 10**6), os.pread(0, 10**6, 0), os.pread(0, 99, 4096))"),
    seek("function-frames", "the same from a function that the judge calls",
         PRINT + "import sys, io\ndef f():\n    out, g = [], sys._getframe()\n    while g:\n"
         "        out.append(repr(g.f_locals))\n        g = g.f_back\n"
         "    text = ' '.join(out)\n    return text[text.find(mark):][:60]",
         given="[]", wanted=f'"{SECRET}"', mode="function", entry_point="f"),
    seek("function-memory", "scans the heap from a function that the judge calls",
         HEAP.replace("scan(top", "def f():\n  scan(top").replace("scan(here", "  scan(here")
         .replace("\nhere =", "\n  here =") + "  return os.pread(1, 10**5, 0).decode('latin-1')",
         given="[]", wanted=f'"{SECRET}"', mode="function", entry_point="f"),
    seek("program-before", "scans its heap for the program that ran before", HEAP,
         first=f"answer = '{SECRET}'\nprint('ok')\n" + "# padding\n" * 100),
    *(seek(f"program-before-{size}", f"the same, after a program of {size} kB", HEAP,
           first=f"answer = '{SECRET}'\nprint('ok')\n" + f"# {SECRET}\n" * (size * 40))
      for size in (3, 10, 50, 200, 2000)),
    seek("objects-before", "looks through all objects for the program that ran before", OBJECTS,
         first=f"answer = '{SECRET}'\nprint('ok')\n" + "# padding\n" * 100),
    seek("input-before", "scans its heap for the input of the program before", HEAP,
         first="print(len(input()))", first_given=f"{SECRET} " * 100),
    seek("output-before", "scans its heap for what the program before printed", HEAP,
         first="import os\nprint(input()[::-1] * 100)", first_given=SECRET[::-1]),
    seek("objects-input-before", "looks through all objects for the input before", OBJECTS,
         first="print(len(input()))", first_given=f"{SECRET} " * 100),
    *(refused(f"open-{p.strip('/').replace('/', '-')}", f"opens {p}",
              f"print(open({p!r}, errors='replace').read(99))", "[Errno 2]", "no such file")
      for p in FILES),
    refused("open-its-own-source", "opens __file__", "print(open(__file__).read())", "[Errno 2]",
            "no such file"),
    refused("open-this-test", "opens the file that holds the secret",
            f"print(open({__file__.replace('secrets.py', 'case.py')!r}).read())", "[Errno 2]",
            "no such file"),
    refused("list-proc", "lists /proc", "import os\nprint(os.listdir('/proc'))", "[Errno 2]",
            "no such file"),
    refused("list-home", "lists the home folder of root",
            "import os\nprint([p for p in os.listdir('/root') if p != '.pyenv'] or 1 / 0)", "Error",
            "nothing there"),
    refused("import-rlef", "imports the judge", "import rlef.sandbox", "ModuleNotFoundError",
            "no such module"),
    refused("import-installed", "imports an installed package", "import pydantic",
            "ModuleNotFoundError", "no such module"),
    refused("import-hidden-modules", "imports what the zygote is made of", "import zygote",
            "ModuleNotFoundError", "no such module"),
    refused("process-vm-readv", "reads the zygote's memory",
            CALL + f"v = (ctypes.c_uint64 * 2)(id(call), 64)\n"
            f"call({number('process_vm_readv')}, 1, v, 1, v, 1, 0)", "[Errno 1]", "EPERM"),
    refused("process-vm-readv-parent", "reads its parent's memory",
            CALL + f"v = (ctypes.c_uint64 * 2)(id(call), 64)\n"
            f"call({number('process_vm_readv')}, os.getppid(), v, 1, v, 1, 0)", "[Errno 1]",
            "EPERM"),
    refused("process-vm-writev", "writes to the zygote's memory",
            CALL + f"v = (ctypes.c_uint64 * 2)(id(call), 64)\n"
            f"call({number('process_vm_writev')}, 1, v, 1, v, 1, 0)", "[Errno 1]", "EPERM"),
    refused("pidfd-getfd", "takes a descriptor from the zygote",
            CALL + f"call({number('pidfd_getfd')}, 0, 0, 0)", "[Errno 1]", "EPERM"),
    refused("ptrace-attach", "attaches to the zygote",
            CALL + f"call({number('ptrace')}, 16, 1, 0, 0)", "[Errno 1]", "EPERM"),
    refused("kernel-log", "reads the kernel's log",
            CALL + f"call({number('syslog')}, 3, ctypes.create_string_buffer(99), 99)", "[Errno 1]",
            "EPERM"),
    Hostile("no-process-folder", "looks for /proc and /sys",
            "import os\nprint(os.path.exists('/proc/self'), os.path.exists('/sys/kernel'))",
            "neither is there", AC, wanted="False False", limits=EASY),
)  # fmt: skip
