"""C++: hostile sources for the compiler, and hostile programs."""

from dataclasses import replace
from pathlib import Path

from hostile.case import AC, CE, EASY, LOOP, MEMORY, OLE, QUICK, RE, SLEEP, TLE, WA, Hostile, Limits

PACKAGE = next(
    (
        str(file)
        for folder in ("lib", "local/lib")
        for file in sorted(Path("/usr", folder).glob("python3*/*-packages/**/*.py"))
    ),
    "/usr/lib/python3/dist-packages/x.py",
)
"""A file that an installed package has, on this machine."""
IO = "#include <cstdio>\n#include <cstdlib>\n#include <unistd.h>\n"


def run(
    name: str, attack: str, body: str, expectation: str, verdicts: tuple[str, ...],
    limits: Limits = QUICK, says: str = "", head: str = IO, given: str = "",
) -> Hostile:  # fmt: skip
    source = f"{head}int main() {{ {body} }}\n"
    return Hostile(name, attack, source, expectation, verdicts, given, says=says, limits=limits)


def build(name: str, attack: str, source: str) -> Hostile:
    return Hostile(name, attack, source, "does not compile", CE)


SYSTEM = (
    IO + "#include <sys/socket.h>\n#include <sys/ptrace.h>\n#include <sys/mman.h>\n"
    "#include <sys/wait.h>\n#include <signal.h>\n#include <pthread.h>\n#include <fcntl.h>\n"
)
CASES = tuple(
    replace(case, language="cpp")
    for case in (
        run("answer", "the right answer", 'puts("ok");', "accepted", AC, EASY),
        run("echo", "reads and prints", "int n; scanf(\"%d\", &n); puts(n == 7 ? \"ok\" : \"no\");",
            "accepted", AC, EASY, given="7\n"),
        run("wrong", "a wrong answer", 'puts("no");', "a wrong answer", WA),
        run("exit-status", "exit status 3", 'puts("ok"); return 3;', "not exit status 0", RE),
        run("exit-256", "exit(256), which is 0", 'puts("ok"); exit(256);', "accepted", AC, EASY),
        run("segfault", "writes to address 0", "*(volatile int *)0 = 1;", "died of SIGSEGV", RE,
            says="SIGSEGV"),
        run("abort", "abort after the answer", 'puts("ok"); fflush(stdout); abort();',
            "died of SIGABRT", RE, says="SIGABRT"),
        run("divide", "divides by zero", "volatile int z = 0; return 100 / z;",
            "died of a signal", RE),
        run("uncaught", "an uncaught exception", 'puts("ok"); throw 5;', "died of SIGABRT", RE,
            says="SIGABRT"),
        run("crash-at-exit", "crashes in an exit hook",
            'puts("ok"); fflush(stdout); atexit([]{ *(volatile int *)0 = 1; });',
            "died of SIGSEGV", RE, says="SIGSEGV"),
        run("bad-alloc", "operator new without an end",
            "for (;;) { char *p = new char[1 << 20]; for (int i = 0; i < 1 << 20; i += 4096) "
            "((volatile char *)p)[i] = 1; }", "std::bad_alloc", ("MLE",), MEMORY),
        run("malloc-null", "malloc, result not looked at",
            "for (;;) { volatile char *p = (char *)malloc(1 << 20); p[0] = 1; }",
            "a null pointer", ("RE", "MLE"), MEMORY),
        run("stack-overflow", "recursion without an end",
            "struct F { static int f(volatile int n) { volatile char b[4096]; b[n & 1] = 1; "
            "return f(n + 1) + b[0]; } }; return F::f(1);", "the stack ends", ("RE", "MLE"),
            MEMORY),
        run("array-huge", "a global array of 4 GB, touched",
            "for (long i = 0; i < sizeof a; i += 4096) a[i] = 1;", "cannot even start",
            ("RE", "MLE", "CE"), MEMORY, head="static volatile char a[1L << 32];\n"),
        run("loop", "an endless loop", "volatile int n = 0; for (;;) n = n + 1;", "CPU limit", TLE,
            LOOP),
        run("loop-static", "loops before main", "return x;", "CPU limit", TLE, LOOP,
            head="static int f() { for (volatile int n = 0;; n = n + 1); }\nint x = f();\n"),
        run("loop-at-exit", "loops after main", 'puts("ok"); return 0;', "CPU limit", TLE, LOOP,
            head=IO + "struct A { ~A() { for (volatile int n = 0;; n = n + 1); } } a;\n"),
        run("sleep", "sleeps", "sleep(99);", "idle limit", TLE, SLEEP),
        run("output", "prints without an end", 'for (;;) puts("xxxxxxxx");', "output limit", OLE),
        run("output-raw", "ignores SIGXFSZ and writes on",
            "signal(SIGXFSZ, SIG_IGN); for (;;) if (write(1, \"xxxxxxxx\", 8) < 0) _exit(0);",
            "output limit", OLE, head=SYSTEM),
        run("fork", "fork", "return fork() < 0 ? 3 : 0;", "EPERM", RE),
        run("fork-bomb", "a fork bomb", "for (;;) fork();", "CPU limit", TLE, LOOP),
        run("exec", "execs a shell", "execl(\"/bin/sh\", \"sh\", \"-c\", \"echo ok\", (char *)0); "
            "return 3;", "EPERM, or no such file", RE),
        run("system", "system()", 'return system("echo ok") != 0;', "no shell runs", RE),
        run("socket", "sockets of all families",
            "for (int f = 0; f < 46; f++) for (int t = 1; t < 6; t++) if (socket(f, t, 0) >= 0) "
            "return 0; return 3;", "EPERM for each", RE, head=SYSTEM),
        run("ptrace", "ptrace", "return ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 ? 3 : 0;", "EPERM", RE,
            head=SYSTEM),
        run("kill", "kills everybody else", "kill(1, 9); kill(-1, 9); puts(\"ok\");",
            "nobody is hit", AC, EASY, head=SYSTEM),
        run("memfd", "memfd_create", 'return memfd_create("x", 0) < 0 ? 3 : 0;', "EPERM", RE,
            head=SYSTEM),
        run("read-passwd", "reads /etc/passwd and /proc",
            'return fopen("/etc/passwd", "r") || fopen("/proc/self/maps", "r") ? 0 : 3;',
            "no such file", RE),
        run("write-file", "writes files where it can",
            'return fopen("/x", "w") || fopen("x", "w") || fopen("/tmp/x", "w") || '
            'fopen("/box/x", "w") ? 0 : 3;', "read-only", RE),
        run("inherited", "looks for descriptors beside 0 to 3",
            "for (int i = 4; i < 5000; i++) if (fcntl(i, F_GETFD) >= 0) return 3; puts(\"ok\");",
            "there are none", AC, EASY, head=SYSTEM),
        run("thread", "a thread", "pthread_t t; int *e = 0; if (pthread_create(&t, 0, [](void *p) "
            "-> void * { puts(\"ok\"); return p; }, e)) return 3; pthread_join(t, 0);", "accepted",
            AC, EASY, head=SYSTEM),
        run("threads", "eight threads of the standard library",
            "std::vector<std::thread> v; for (int i = 0; i < 8; i++) v.emplace_back([] {}); "
            "for (auto &t : v) t.join(); puts(\"ok\");", "accepted: none takes the whole memory",
            AC, EASY, head="#include <cstdio>\n#include <thread>\n#include <vector>\n"),
        run("deep-stack", "300 MB of stack, of 512 MB", "return f(300'000) && puts(\"ok\") < 0;",
            "accepted", AC, EASY, head=IO + "int f(int n) { volatile char a[1000]; a[n % 1000] = 1;"
            " return n > 0 ? f(n - 1) * a[n % 1000] : 1; }\n"),
        run("loader", "becomes the dynamic loader, which could run any file",
            'execl("/lib64/ld-linux-x86-64.so.2", "ld", "--list-tunables", (char *)0); return 3;',
            "EPERM, or no program to run", ("RE", "WA")),
        run("thread-bomb", "threads without an end",
            "for (int i = 0; i < 5000; i++) { pthread_t t; if (pthread_create(&t, 0, [](void *p) "
            "-> void * { pause(); return p; }, 0)) return 3; }", "EAGAIN", RE, head=SYSTEM,
            limits=Limits(cpu_s=1.0, memory_mb=1024, output_kb=64)),
        build("include-zero", "includes /dev/zero", '#include "/dev/zero"\nint main() {}'),
        build("include-random", "includes /dev/urandom", '#include "/dev/urandom"\nint main() {}'),
        build("include-passwd", "includes /etc/passwd", '#include "/etc/passwd"\nint main() {}'),
        build("include-proc", "includes /proc/self/environ",
              '#include "/proc/self/environ"\nint main() {}'),
        build("include-itself", "includes itself",
              "#include __FILE__\n#include __FILE__\nint main() {}"),
        build("incbin", "takes /etc/passwd into the program",
              'asm(".incbin \\"/etc/passwd\\"");\nint main() {}'),
        build("incbin-package", "takes an installed Python package into the program",
              f'asm(".incbin \\"{PACKAGE}\\"");\nint main() {{}}'),
        build("incbin-proc", "takes the environment into the program",
              'asm(".incbin \\"/proc/self/environ\\"");\nint main() {}'),
        build("template-depth", "templates without an end",
              "template <int N> struct A { static const int v = A<N + 1>::v; };\n"
              "int main() { return A<0>::v; }"),
        build("template-memory", "a type that doubles at each step",
              "template <class... T> struct A { using N = A<T..., T...>; };\n"
              "template <int N, class T> struct B { using V = typename B<N - 1, typename "
              "T::N>::V; };\ntemplate <class T> struct B<0, T> { using V = T; };\n"
              "B<40, A<int>>::V x;\nint main() {}"),
        build("constexpr", "a constant that takes for ever",
              "constexpr int f(long n) { int s = 0; for (long i = 0; i < n; i++) s ^= i; "
              "return s; }\nconstexpr int x = f(1L << 60);\nint main() { return x; }"),
        build("initialised", "an initialised array of 8 GB", 
              "char a[1L << 33] = {1};\nint main() {}"),
        build("assembler-fill", "the assembler fills 1 TB",
              'asm(".fill 1099511627776, 1, 1");\nint main() {}'),
        build("no-main", "no main", "int f() { return 0; }"),
        build("not-cpp", "Python for C++", "print('ok')"),
        build("error-flood", "10**4 errors", "x y;\n" * 10**4 + "int main() {}"),
        build("empty", "an empty program", ""),
    )
)  # fmt: skip
