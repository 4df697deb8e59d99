/* The hot path of a jail: takes tests, starts one child for each, watches it from outside, reaps it.
 *
 * Plain C without Python's headers, loaded through ctypes by spawn.py, which with child.py and
 * watch.py holds the same in Python for machines without a compiler. structs.py mirrors the
 * structures. The loop over tests
 * is here because every page that the zygote writes to between two forks is copied once more.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif
#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#define F_SEAL_WRITE 8
#endif
#define MAX_FILTER 1024
#define WINDOW_S 0.25
#define PATIENCE 3.0
#define STARVED_SHARE 0.9
#define SLEEPS "\nvoluntary_ctxt_switches:"
#define HUGE_PAGE (2UL << 20)

enum { VERSION = 3 }; /* as in structs.py: another one when a structure or a function changes */
enum { FILES = 5, SLOT_FILES = 4, CODE_FILE = 4, COOKIE_CHARS = 16, THREADS = 64 };
enum { ENDED = 0, KILLED_CPU = 1, KILLED_WALL = 2, STARVED = 3 };

struct request {
    int32_t files[FILES]; /* become descriptors 0 to 4; -1: closed */
    int32_t binary;       /* program to execute, or -1: return to the interpreter */
    int32_t proc;         /* the jail's /proc, or -1 */
    int32_t ruleset;      /* Landlock rules (a descriptor above those of the child), or -1 */
    int32_t uid;          /* user of the child, or -1: as the zygote */
    int32_t bare;         /* no process namespace around us */
    int32_t processes;
    uint32_t filter_length; /* 0: no system call filter */
    uint32_t pid_placeholder;
    uint32_t judged; /* the file that may hold output_bytes; the others may hold file_bytes */
    double cpu_s, idle_s, wall_s;
    uint64_t memory_bytes, stack_bytes, output_bytes, file_bytes;
    const struct sock_filter *filter;
    char *const *argv;
    char *const *envp;
    const char *folder; /* working directory of an executed program, or NULL */
};

struct outcome {
    int32_t status; /* as wait() gives it */
    int32_t killed;
    double cpu_s, wall_s;
    uint64_t memory_kb;
};

/* What the judge learns of a test. */
struct answer {
    int32_t status, killed;
    double cpu_s, wall_s;
    uint64_t memory_kb;
    uint64_t sizes[SLOT_FILES - 1]; /* bytes in stdout, stderr and result */
    char cookie[COOKIE_CHARS];
};

int rlef_version(void) { return VERSION; }

static double seconds(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return -1.0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void limit(int kind, uint64_t value)
{
    struct rlimit now, wanted = {value, value};
    if (getrlimit(kind, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
        wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
    if (setrlimit(kind, &wanted) != 0)
        _exit(126);
}

static void drop_privileges(const struct request *r)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    if (r->uid >= 0) {
        if (syscall(SYS_setresgid, r->uid, r->uid, r->uid) != 0 ||
            syscall(SYS_setresuid, r->uid, r->uid, r->uid) != 0)
            _exit(126);
    }
    if (syscall(SYS_capset, &header, none) != 0)
        _exit(126);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        _exit(126);
}

static void install_filter(const struct request *r)
{
    static struct sock_filter code[MAX_FILTER];
    struct sock_fprog program = {(unsigned short)r->filter_length, code};
    if (r->filter_length == 0)
        return;
    if (r->filter_length > MAX_FILTER)
        _exit(126);
    memcpy(code, r->filter, r->filter_length * sizeof code[0]);
    for (uint32_t i = 0; i < r->filter_length; i++)
        if (code[i].k == r->pid_placeholder)
            code[i].k = (uint32_t)getpid();
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(126);
}

/* Everything between fork and the first byte of the program. */
static void become_program(const struct request *r)
{
    int keep = FILES;
    for (int i = 0; i < FILES; i++) {
        if (r->files[i] < 0)
            close(i);
        else if (dup2(r->files[i], i) < 0)
            _exit(126);
    }
    int binary = -1;
    if (r->binary >= 0) {
        if (dup3(r->binary, keep, O_CLOEXEC) < 0)
            _exit(126);
        binary = keep++;
    }
    if (r->ruleset >= 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (syscall(SYS_landlock_restrict_self, r->ruleset, 0) != 0)
            _exit(126);
    }
    syscall(SYS_close_range, keep, ~0U, 0);
    setsid();
    signal(SIGXFSZ, SIG_DFL);
    if (r->folder != NULL && chdir(r->folder) != 0)
        _exit(126);
    uint64_t cpu = (uint64_t)r->cpu_s + 3;
    limit(RLIMIT_AS, r->memory_bytes);
    limit(RLIMIT_CPU, cpu);
    limit(RLIMIT_FSIZE, r->file_bytes + 1);
    limit(RLIMIT_STACK, r->stack_bytes);
    limit(RLIMIT_NPROC, (uint64_t)r->processes);
    drop_privileges(r);
    if (r->bare)
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (r->argv == NULL) {
        install_filter(r);
        return;
    }
    signal(SIGPIPE, SIG_DFL);
    install_filter(r);
    if (binary >= 0)
        syscall(SYS_execveat, binary, "", r->argv, r->envp, 0x1000 /* AT_EMPTY_PATH */);
    else
        execve(r->argv[0], r->argv, r->envp);
    static const char words[] = "the program cannot be executed\n";
    ssize_t ignored = write(2, words, sizeof words - 1);
    (void)ignored;
    _exit(126);
}

static uint64_t size_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static double larger(double a, double b) { return a > b ? a : b; }
static double smaller(double a, double b) { return a < b ? a : b; }

/* How long a thread stood ready without a core until now, and how often it went to sleep: -1 if it
 * sleeps now. */
struct delay {
    long thread, sleeps;
    double s;
};

/* What the threads of a process did since the last look at them. */
struct look {
    double sum, longest; /* seconds ready without a core: of all together, of the one most delayed */
    int ready;           /* one runs or stands ready now: its last wait may not be told yet */
    int awake;           /* one such has not slept since the last look */
};

/* Reads a small file into text, which it ends with 0. Returns 0, or -1. */
static int read_small(int folder, long thread, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%ld/%s", thread, name);
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = 0;
    return length > 0 ? 0 : -1;
}

/* Looks at the threads of a process. Returns 0, or -1 where their delays are not known. */
static int look_at(int proc, pid_t pid, struct delay *known, struct look *seen)
{
    struct delay found[THREADS] = {{0, 0, 0.0}};
    int count = 0, told = 0;
    char path[64], text[4096];
    memset(seen, 0, sizeof *seen);
    snprintf(path, sizeof path, "%d/task", (int)pid);
    int folder = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = folder < 0 ? NULL : fdopendir(folder);
    if (list == NULL) {
        if (folder >= 0)
            close(folder);
        return -1;
    }
    for (struct dirent *entry; count < THREADS && (entry = readdir(list)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        long thread = strtol(entry->d_name, NULL, 10);
        unsigned long long run, wait;
        if (read_small(folder, thread, "status", text, sizeof text) != 0)
            continue;
        const char *state = strstr(text, "\nState:\t"), *sleeps = strstr(text, SLEEPS);
        int ready = state != NULL && state[8] == 'R';
        struct delay now = {thread, -1, 0.0};
        if (ready && sleeps != NULL)
            now.sleeps = strtol(sleeps + strlen(SLEEPS), NULL, 10);
        if (read_small(folder, thread, "schedstat", text, sizeof text) != 0 ||
            sscanf(text, "%llu %llu", &run, &wait) != 2)
            continue;
        told |= run > 0;
        now.s = 1e-9 * (double)wait;
        double before = 0.0;
        for (int i = 0; i < THREADS && known[i].thread != 0; i++)
            if (known[i].thread == thread) {
                before = known[i].s;
                seen->awake |= ready && known[i].sleeps == now.sleeps;
            }
        seen->ready |= ready;
        seen->sum += larger(0.0, now.s - before);
        seen->longest = larger(seen->longest, now.s - before);
        found[count++] = now;
    }
    closedir(list);
    memcpy(known, found, sizeof found);
    return told ? 0 : -1;
}

/* Time without a core or a reason to want one. */
struct idle {
    double sure;
    double open; /* may yet turn out to be a wait for a core, which is told when it ends */
};

static void add_idle(struct idle *idle, double s, const struct look *seen)
{
    if (s < 0.0 || !seen->ready) {
        idle->open = larger(0.0, idle->open + s);
        s = 0.0;
    }
    if (seen->awake)
        return;
    idle->sure += idle->open;
    idle->open = s;
}

/* Whether a process has made others, which the filter forbids programs: it then waits for them. */
static int has_children(int proc, pid_t pid)
{
    char name[64], text[16];
    snprintf(name, sizeof name, "task/%d/children", (int)pid);
    return proc >= 0 && read_small(proc, pid, name, text, sizeof text) == 0;
}

/* Whether more has been written than may be, to the file that is judged. */
static int is_full(const struct request *r)
{
    return r->judged < FILES && r->files[r->judged] >= 0 &&
           size_of(r->files[r->judged]) > r->output_bytes;
}

/* Waits until the child ends or passes a limit. Time that it waits for a core is not idle.
 *
 * Threads may also wait for each other's core: that would hide a program's idle time, so time in
 * which no single thread waited counts too, with more patience.
 */
static int watch(const struct request *r, pid_t pid, int pidfd)
{
    clockid_t clock = (clockid_t)((~(unsigned)pid << 3) | 2);
    static double cpus; /* asking takes as long as 20 system calls */
    if (cpus == 0.0)
        cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    double start = seconds(CLOCK_MONOTONIC), now = start, mark = start;
    double used = 0.0, mark_used = 0.0;
    struct idle all = {0.0, 0.0}, each = {0.0, 0.0};
    struct delay delays[THREADS] = {{0, 0, 0.0}};
    for (;;) {
        double step = smaller(larger((r->cpu_s - used) / cpus, 0.002), WINDOW_S);
        step = smaller(step, larger(r->wall_s - (now - start), 0.002));
        struct timespec timeout = {(time_t)step, (long)(1e9 * (step - (double)(time_t)step))};
        struct pollfd end = {pidfd, POLLIN, 0};
        if (ppoll(&end, 1, &timeout, NULL) > 0)
            return ENDED;
        now = seconds(CLOCK_MONOTONIC);
        used = larger(used, seconds(clock));
        if (used >= r->cpu_s || is_full(r))
            return KILLED_CPU;
        int over = now - start > r->wall_s;
        if (over || now - mark >= WINDOW_S) {
            double passed = smaller(now - mark, 2.0 * WINDOW_S); /* else the machine stood still */
            double rest = passed - (used - mark_used);
            struct look seen = {0};
            if (r->proc >= 0 && look_at(r->proc, pid, delays, &seen) == 0) {
                add_idle(&all, rest - seen.sum, &seen);
                add_idle(&each, rest - seen.longest, &seen);
            } else if (used - mark_used < 0.02 * (now - mark)) {
                add_idle(&all, passed, &seen);
            }
            mark = now, mark_used = used;
        }
        if (all.sure > r->idle_s || each.sure > PATIENCE * r->idle_s)
            return KILLED_WALL;
        if (over) {
            double own = used + larger(all.sure, each.sure);
            int starved = own < STARVED_SHARE * r->wall_s && !has_children(r->proc, pid);
            return starved ? STARVED : KILLED_WALL;
        }
    }
}

/* Kills our own children and their group where kill(-1) would reach the whole machine. */
static void kill_children(pid_t group)
{
    char path[64], text[4096];
    kill(-group, SIGKILL);
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[count > 0 ? count : 0] = 0;
    for (char *at = text, *next;; at = next) {
        long child = strtol(at, &next, 10);
        if (next == at)
            break;
        kill((pid_t)child, SIGKILL);
    }
}

static void end_survivors(const struct request *r, pid_t group)
{
    for (;;) {
        if (r->bare)
            kill_children(group);
        else
            kill(-1, SIGKILL);
        pid_t pid;
        do
            pid = waitpid(-1, NULL, 0);
        while (pid < 0 && errno == EINTR);
        if (pid < 0)
            return;
    }
}

/* Runs one child. Returns 0 in the child, 1 in the zygote with *out filled, -1 if fork failed. */
int rlef_run(const struct request *r, struct outcome *out)
{
    memset(out, 0, sizeof *out);
    double start = seconds(CLOCK_MONOTONIC);
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        become_program(r);
        return 0;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return -1;
    }
    out->killed = watch(r, pid, pidfd);
    if (out->killed != ENDED)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    struct rusage usage;
    memset(&usage, 0, sizeof usage);
    while (wait4(pid, &out->status, 0, &usage) < 0 && errno == EINTR)
        ;
    close(pidfd);
    out->wall_s = seconds(CLOCK_MONOTONIC) - start;
    end_survivors(r, pid);
    out->cpu_s = (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec +
                 (double)usage.ru_stime.tv_sec + 1e-6 * (double)usage.ru_stime.tv_usec;
    out->memory_kb = (uint64_t)usage.ru_maxrss;
    return 1;
}

/* Copies code and constants of the interpreter, whole huge pages from start to end, into memory that
 * the kernel can map by huge pages. A child then finds them mapped; from a file it maps them anew, in
 * dozens of faults, and unmaps them page by page. Returns 0, or -1 where nothing was changed.
 */
int rlef_use_huge_pages(char *start, char *end)
{
    size_t length = (size_t)(end - start);
    char *room = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -1;
    char *copy = (char *)(((uintptr_t)room + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (madvise(copy, length, MADV_HUGEPAGE) != 0) {
        munmap(room, length + HUGE_PAGE);
        return -1;
    }
    memcpy(copy, start, length);
    int moved = mprotect(copy, length, PROT_READ | PROT_EXEC) == 0 &&
                mremap(copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, start) == start;
    munmap(room, (size_t)(copy - room));
    if (moved)
        munmap(copy + length, (size_t)(room + HUGE_PAGE - copy));
    else
        munmap(copy, (size_t)(room + HUGE_PAGE - copy) + length);
    return moved ? 0 : -1;
}

/* As in Python's headers. */
struct arena_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *start, size_t size);
};

enum { SMALL_ARENAS = 2 };

/* Memory for Python's objects: what a program asks for past the first megabytes comes by huge pages,
 * which spares it hundreds of page faults for each. */
static void *allocate_arena(void *context, size_t size)
{
    static int count;
    static char *spare, *end;
    (void)context;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (count < SMALL_ARENAS || size > HUGE_PAGE / 2) {
        count++;
        void *small = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
        return small == MAP_FAILED ? NULL : small;
    }
    if ((size_t)(end - spare) < size) {
        char *room = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) {
            void *small = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
            return small == MAP_FAILED ? NULL : small;
        }
        spare = (char *)(((uintptr_t)room + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
        end = spare + HUGE_PAGE;
        if (spare > room)
            munmap(room, (size_t)(spare - room));
        if (end < room + 2 * HUGE_PAGE)
            munmap(end, (size_t)(room + 2 * HUGE_PAGE - end));
        madvise(spare, HUGE_PAGE, MADV_HUGEPAGE);
    }
    spare += size;
    return spare - size;
}

static void release_arena(void *context, void *start, size_t size)
{
    (void)context;
    munmap(start, size);
}

/* Gives Python that memory; set is PyObject_SetArenaAllocator. */
void rlef_use_huge_arenas(void (*set)(struct arena_allocator *))
{
    struct arena_allocator ours = {NULL, allocate_arena, release_arena};
    set(&ours);
}

/* Makes the files of a slot as new: at their start, without flags, what programs write is empty. */
int rlef_empty(const int32_t *files)
{
    for (int i = 0; i < SLOT_FILES; i++)
        if (lseek(files[i], 0, SEEK_SET) < 0 || fcntl(files[i], F_SETFL, 0) < 0 ||
            (i > 0 && ftruncate(files[i], 0) < 0))
            return -1;
    return 0;
}

static void new_cookie(char *cookie)
{
    unsigned char bytes[COOKIE_CHARS / 2];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        _exit(1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        cookie[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        cookie[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}

/* Runs the loaded program on the tests that come, "T" and the number of a slot of files.
 *
 * Returns 0 in a child, 1 when a message waits that is no test, -1 if no process can be made. Ends
 * the process when the other side is gone. Compiled code that the first child did not seal is no
 * longer offered to the others.
 */
int rlef_serve(int control, int32_t slots, const int32_t *files, struct request *r, char *cookie)
{
    for (;;) {
        unsigned char message[2];
        ssize_t count = recv(control, message, sizeof message, MSG_PEEK);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            _exit(0);
        if (message[0] != 'T')
            return 1;
        if (recv(control, message, sizeof message, 0) != 2 || message[1] >= slots)
            _exit(1);
        const int32_t *slot = files + SLOT_FILES * message[1];
        if (rlef_empty(slot) != 0)
            _exit(1);
        memcpy(r->files, slot, sizeof(int32_t) * SLOT_FILES);
        new_cookie(cookie);
        struct outcome out;
        int code = rlef_run(r, &out);
        if (code <= 0)
            return code;
        int32_t *shared = &r->files[CODE_FILE];
        if (*shared >= 0 && !(fcntl(*shared, F_GET_SEALS) & F_SEAL_WRITE)) {
            close(*shared);
            *shared = -1;
        }
        struct answer answer = {out.status, out.killed, out.cpu_s, out.wall_s, out.memory_kb,
                                {size_of(slot[1]), size_of(slot[2]), size_of(slot[3])}, {0}};
        memcpy(answer.cookie, cookie, COOKIE_CHARS);
        if (send(control, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            _exit(0);
    }
}
