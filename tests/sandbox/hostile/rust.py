"""Rust: hostile programs, and hostile sources for the compiler."""

from dataclasses import replace

from hostile.case import AC, CE, EASY, LOOP, MEMORY, OLE, QUICK, RE, SLEEP, TLE, WA, Hostile, Limits

HEAD = r"""
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::{env, fs, net, panic, process, thread, time};

extern "C" {
    fn fork() -> i32;
    fn kill(pid: i32, number: i32) -> i32;
    fn socket(family: i32, kind: i32, protocol: i32) -> i32;
    fn ptrace(request: i64, pid: i64, address: i64, data: i64) -> i64;
    fn memfd_create(name: *const u8, flags: u32) -> i32;
    fn fcntl(fd: i32, command: i32) -> i32;
    fn signal(number: i32, handler: usize) -> usize;
    fn write(fd: i32, text: *const u8, size: usize) -> isize;
    fn personality(kind: u64) -> i32;
    fn setsid() -> i32;
}

/// A program that is refused what it tries ends with status 3.
fn must_work(done: bool) {
    if !done { process::exit(3) }
    println!("ok");
}

fn deep(n: u64, end: u64) -> u64 {
    let a = black_box([n; 100]);
    if n == end { 0 } else { deep(n + 1, end) + a[(n % 100) as usize] % 2 }
}

fn refused(path: &str) -> bool {
    fs::File::open(path).is_err() && fs::read_dir(path).is_err()
}

fn act(word: &str) {
    let zero = black_box(0);
    match word {
"""


def action(
    name: str, attack: str, body: str, expectation: str, verdicts: tuple[str, ...],
    limits: Limits = QUICK, says: str = "",
) -> tuple[Hostile, str]:  # fmt: skip
    case = Hostile(name, attack, "", expectation, verdicts, name, says=says, limits=limits)
    return case, f'        "{name}" => {{ {body} }}\n'


ACTIONS = (
    action("answer", "the right answer", 'println!("ok");', "accepted", AC, EASY),
    action("wrong", "a wrong answer", 'println!("no");', "a wrong answer", WA),
    action("exit-status", "exit status 3", "println!(\"ok\"); process::exit(3);",
           "not exit status 0", RE, says="exit status 3"),
    action("panic", "panics after the answer", 'println!("ok"); panic!("bad luck");',
           "exit status 101, with the place and the words", RE,
           says="panicked at"),
    action("panic-caught", "catches a panic", "panic::catch_unwind(|| panic!()).unwrap_err(); "
           'println!("ok");', "accepted", AC, EASY),
    action("panic-thread", "another thread panics",
           'thread::spawn(|| panic!()).join().unwrap_err(); println!("ok");', "accepted", AC, EASY),
    action("divide", "divides by zero", "println!(\"{}\", 1 / zero);", "exit status 101", RE,
           says="attempt to divide by zero"),
    action("index", "an index out of bounds", "println!(\"{}\", vec![1][zero + 9]);",
           "exit status 101", RE, says="index out of bounds"),
    action("abort", "aborts after the answer", "println!(\"ok\"); process::abort();",
           "died of SIGABRT", RE, says="SIGABRT"),
    action("segfault", "writes to address 8", "unsafe { *black_box(8 as *mut i32) = 1; }",
           "died of SIGSEGV", RE, says="SIGSEGV"),
    action("memory", "a vector without an end", "let mut v = vec![1u64]; loop { v.push(1); }",
           "the allocation fails", ("MLE",), MEMORY),
    action("memory-huge", "a vector of 1 TB",
           "println!(\"{}\", black_box(vec![1u8; 1 << 40]).len());", "the allocation fails",
           ("MLE",)),
    action("memory-leak", "boxes that are never freed",
           "loop { Box::leak(black_box(Box::new([1u8; 65536]))); }", "the allocation fails",
           ("MLE",), MEMORY),
    action("stack", "recursion without an end", "println!(\"{}\", deep(1, 0));", "the stack ends",
           ("RE", "MLE"), MEMORY),
    action("deep-stack", "300 MB of stack, of 512 MB",
           "if deep(0, 300_000) < u64::MAX { println!(\"ok\"); }", "accepted", AC, EASY),
    action("loop", "an endless loop", "loop { black_box(zero); }", "CPU limit", TLE, LOOP),
    action("loop-threads", "endless loops in four threads",
           "for _ in 0..3 { thread::spawn(|| loop { black_box(0); }); } loop { black_box(0); }",
           "CPU limit of all together", TLE, LOOP),
    action("sleep", "sleeps", "thread::sleep(time::Duration::from_secs(99));", "idle limit", TLE,
           SLEEP),
    action("deadlock", "waits for itself",
           "let m = std::sync::Mutex::new(0); let _a = m.lock(); let _b = m.lock();",
           "idle limit", TLE, SLEEP),
    action("output", "prints without an end", 'loop { println!("xxxxxxxx"); }', "output limit",
           OLE),
    action("output-raw", "ignores SIGXFSZ and writes on",
           "unsafe { signal(25, 1); loop { if write(1, \"xxxxxxxx\".as_ptr(), 8) < 0 { "
           "process::exit(0) } } }", "output limit", OLE),
    action("fork", "fork", "unsafe { must_work(fork() >= 0) }", "EPERM", RE),
    action("fork-bomb", "a fork bomb", "unsafe { loop { fork(); } }", "CPU limit", TLE, LOOP),
    action("command", "runs a shell", "let done = process::Command::new(\"/bin/sh\").arg(\"-c\")"
           ".arg(\"echo ok\").status(); must_work(done.is_ok());", "no process is made", RE),
    action("thread-bomb", "threads without an end",
           "loop { thread::spawn(|| loop { thread::park() }); }", "EAGAIN: it panics", RE,
           Limits(cpu_s=1.0, memory_mb=1024, output_kb=64)),
    action("threads", "eight threads", "let all: Vec<_> = (0..8).map(|_| thread::spawn(|| 1))"
           ".collect(); if all.into_iter().map(|t| t.join().unwrap()).sum::<i32>() == 8 { "
           "println!(\"ok\"); }", "accepted: none takes the whole memory", AC, EASY),
    action("tcp", "connects to a server", "must_work(net::TcpStream::connect(\"127.0.0.1:22\")"
           ".is_ok());", "EPERM", RE),
    action("udp", "asks for a name", "must_work(net::UdpSocket::bind(\"0.0.0.0:0\").is_ok());",
           "EPERM", RE),
    action("sockets", "sockets of all families", "unsafe { must_work((0..46).any(|f| (1..6).any("
           "|t| socket(f, t, 0) >= 0))) }", "EPERM for each", RE),
    action("ptrace", "ptrace", "unsafe { must_work(ptrace(0, 0, 0, 0) >= 0) }", "EPERM", RE),
    action("memfd", "memfd_create", "unsafe { must_work(memfd_create(\"x\\0\".as_ptr(), 0) >= 0) }",
           "EPERM", RE),
    action("personality", "turns off the randomised addresses",
           "unsafe { must_work(personality(0x40000) >= 0) }", "EPERM", RE),
    action("session", "a session of its own", "unsafe { must_work(setsid() >= 0) }", "EPERM", RE),
    action("kill", "kills everybody else",
           "unsafe { kill(1, 9); kill(-1, 9); } println!(\"ok\");", "nobody is hit", AC, EASY),
    action("read", "reads files of the machine", "must_work(!["
           "\"/etc/passwd\", \"/proc/self/maps\", \"/proc/1/environ\", \"/box\", \"/usr/bin\"]"
           ".into_iter().all(refused));", "no such file", RE),
    action("write", "writes files where it can", "must_work(["
           "\"/x\", \"x\", \"/tmp/x\", \"/box/x\", \"/dev/x\"]"
           ".into_iter().any(|p| fs::write(p, \"x\").is_ok()));", "read-only", RE),
    action("remove", "removes the library", "must_work(fs::remove_dir_all(\"/usr\").is_ok());",
           "read-only", RE),
    action("environment", "prints its environment and arguments",
           "let mut names: Vec<_> = env::vars().map(|(n, _)| n).collect(); names.sort(); "
           "if names == [\"LANG\", \"ONLINE_JUDGE\", \"PATH\", \"TMPDIR\"] && "
           "env::args().count() == 1 { println!(\"ok\"); }", "nothing of the machine's", AC, EASY),
    action("inherited", "looks for descriptors beside 0 to 3",
           "unsafe { must_work((4..5000).all(|fd| fcntl(fd, 1) < 0)) }", "there are none", AC,
           EASY),
    action("input", "reads on after the end of its input",
           "let mut rest = String::new(); io::stdin().read_to_string(&mut rest).unwrap(); "
           "if rest.is_empty() { io::stdout().write_all(b\"ok\").unwrap() }", "it stays the end",
           AC, EASY),
)  # fmt: skip
SOURCE = (
    HEAD
    + "".join(arm for _, arm in ACTIONS)
    + """        _ => {}
    }
}

fn main() {
    let mut word = String::new();
    io::stdin().read_line(&mut word).unwrap();
    act(word.trim())
}
"""
)
"""All of them in one program, which is compiled once; its input says what it does."""


def build(name: str, attack: str, source: str, says: str = "") -> Hostile:
    return Hostile(name, attack, source, "does not compile", CE, says=says, language="rust")


CASES = (
    *(replace(case, source=SOURCE, language="rust") for case, _ in ACTIONS),
    Hostile("secret-in-environment", "takes the compiler's environment into the program",
            'fn main() { print!("{}", option_env!("RLEF_TEST_SECRET").unwrap_or("ok")); }',
            "it is not there", AC, limits=EASY, language="rust"),
    build("include-passwd", "takes /etc/passwd into the program",
          'fn main() { print!("{}", include_str!("/etc/passwd")); }', "No such file"),
    build("include-proc", "takes the environment into the program",
          'static A: &[u8] = include_bytes!("/proc/self/environ");\nfn main() {}', "No such file"),
    build("include-root", "takes a file of root into the program",
          'fn main() { print!("{}", include_str!("/root/.bashrc")); }', "No such file"),
    build("incbin", "takes /etc/passwd into the program, by the assembler",
          'std::arch::global_asm!(".incbin \\"/etc/passwd\\"");\nfn main() {}'),
    build("include-itself", "includes itself", "include!(\"solution.rs\");\nfn main() {}"),
    build("module", "asks for a file of a module", "mod other;\nfn main() {}"),
    build("crate", "asks for a package", "use rand::Rng;\nfn main() {}", "rand"),
    build("compiler-plugin", "would be code for the compiler to run",
          '#![crate_type = "proc-macro"]\nuse proc_macro::TokenStream;\n'
          "#[proc_macro]\npub fn f(t: TokenStream) -> TokenStream { t }\n"),
    build("array", "an initialised array of 1 TB",
          "static A: [u8; 1 << 40] = [1; 1 << 40];\nfn main() { println!(\"{}\", A[5]); }"),
    build("type-depth", "a type without an end",
          "struct A<T>(T);\nfn f<T>(n: u32, t: T) { if n > 0 { f(n - 1, A(t)) } }\n"
          "fn main() { f(9, 1) }"),
    build("macro-depth", "a macro without an end",
          "macro_rules! m { ($x:expr) => { m!($x + 1) } }\nfn main() { m!(1); }"),
    build("no-main", "no main", "fn f() {}"),
    build("not-rust", "Python for Rust", "print('ok')"),
    build("error-flood", "10**4 errors", "fn main() {\n" + "x;\n" * 10**4 + "}\n"),
    build("empty", "an empty program", ""),
)  # fmt: skip
