#define _GNU_SOURCE
#include "app/bench.h"

#include "app/common.h"
#include "app/generate.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REPLY_BYTES = 16384, // 64 hashes and a dozen figures take less than 8 KiB
    WORDS = 28,
    POLL_MS = 100,
    PATIENCE_MS = 2000, // a child stops within a block of the transformer; one that does not is killed
};

typedef struct command_line {
    char numbers[4][24], size[48];
    const char *words[WORDS];
    int count;
} command_line;

static void add(command_line *line, const char *option, const char *value)
{
    line->words[line->count++] = option;
    line->words[line->count++] = value;
}

static void add_number(command_line *line, int slot, const char *option, int64_t value)
{
    snprintf(line->numbers[slot], sizeof line->numbers[slot], "%" PRId64, value);
    add(line, option, line->numbers[slot]);
}

static void make_command(const ecd_bench *b, ecd_bench_path path, const ecd_bench_point *point, command_line *line)
{
    const ecd_bench_settings *s = &b->settings;
    line->count = 0;
    add(line, "ecdit", "bench-run");
    add(line, "--weights", ecd_bench_path_names[path]);
    add(line, "--backend", ecd_backend_names[s->backend]);
    add(line, "--compute", ecd_compute_names[s->compute]);
    add_number(line, 0, "--batch", point->batch);
    add_number(line, 1, "--steps", s->steps);
    if (s->threads)
        add_number(line, 2, "--threads", s->threads);
    if (point->budget_bytes)
        add_number(line, 3, "--memory-budget", (int64_t)point->budget_bytes);
    if (s->size.width) {
        snprintf(line->size, sizeof line->size, "%" PRId64 "x%" PRId64, s->size.width, s->size.height);
        add(line, "--size", line->size);
    }
    if (b->texts_file)
        add(line, "--text", b->texts_file);
    add(line, "--", b->folders[path]);
    line->words[line->count] = NULL;
}

// In the child, between fork and exec: nothing but system calls.
static void become(const command_line *line, int output, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM); // a parent that is killed takes its measurement along
    if (getppid() == parent && dup2(output, STDOUT_FILENO) >= 0)
        execv("/proc/self/exe", (char *const *)line->words);
    _exit(127);
}

// Until the child closes its end; gives up as soon as the flag is set.
static ecd_status read_all(int input, char text[REPLY_BYTES], ecd_diag *diag)
{
    size_t used = 0;
    for (;;) {
        struct pollfd event = {.fd = input, .events = POLLIN};
        ecd_status status = ecd_interrupt_check(diag);
        if (status)
            return status;
        if (poll(&event, 1, POLL_MS) <= 0)
            continue;
        ssize_t got = read(input, text + used, REPLY_BYTES - 1 - used);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return ecd_fail(diag, ECD_RESOURCE, "cannot read a measurement: %s", strerror(errno));
        used += (size_t)got;
        text[used] = 0;
        if (got == 0)
            return ECD_OK;
        if (used == REPLY_BYTES - 1)
            return ecd_fail(diag, ECD_RESOURCE, "a measurement of more than %d bytes", REPLY_BYTES - 1);
    }
}

// Asks the child to stop, and after a while sees to it.
static void stop(pid_t child)
{
    siginfo_t info;
    kill(child, SIGTERM);
    for (int waited = 0; waited < PATIENCE_MS; waited += POLL_MS) {
        info.si_pid = 0;
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
            return;
        poll(NULL, 0, POLL_MS);
    }
    kill(child, SIGKILL);
}

static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static ecd_status spawn(const command_line *line, pid_t *child, int *input, ecd_diag *diag)
{
    int ends[2];
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC))
        return ecd_fail(diag, ECD_RESOURCE, "cannot start a measurement: %s", strerror(errno));
    *child = fork();
    if (*child == 0)
        become(line, ends[1], parent);
    int error = errno;
    close(ends[1]);
    *input = ends[0];
    if (*child > 0)
        return ECD_OK;
    close(ends[0]);
    return ecd_fail(diag, ECD_RESOURCE, "cannot start a measurement: %s", strerror(error));
}

ecd_status ecd_bench_measure(ecd_bench *b, ecd_bench_path path, const ecd_bench_point *point, ecd_bench_sample *out,
                             ecd_diag *diag)
{
    int64_t batch = point->batch;
    command_line line;
    char text[REPLY_BYTES] = "";
    pid_t child = -1;
    int input = -1;
    make_command(b, path, point, &line);
    ecd_status status = spawn(&line, &child, &input, diag);
    if (status)
        return status;
    status = read_all(input, text, diag);
    close(input);
    if (status)
        stop(child);
    int ending = wait_for(child);
    if (!status)
        status = ecd_interrupt_check(diag); // Ctrl-C reaches both: the child's death is no fault then
    if (status)
        return status;
    if (WIFSIGNALED(ending))
        return ecd_fail(diag, ECD_RESOURCE, "measuring %s, batch %" PRId64 ": ended by signal %d (%s)",
                        ecd_bench_path_names[path], batch, WTERMSIG(ending), strsignal(WTERMSIG(ending)));
    if (WEXITSTATUS(ending) && !text[0])
        return ecd_fail(diag, ECD_RESOURCE, "measuring %s, batch %" PRId64 ": ended with status %d and said nothing",
                        ecd_bench_path_names[path], batch, WEXITSTATUS(ending));
    return ecd_bench_read_reply(b, path, batch, text, out, diag);
}
