#define _GNU_SOURCE
#include "app/bus_fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

// Everything here may run in a signal handler: system calls and memory of its own, nothing else.
enum { LINE = 4096 };

typedef struct line_reader {
    int fd;
    char bytes[1024];
    ssize_t size, at;
} line_reader;

static bool read_line(line_reader *r, char *line)
{
    size_t length = 0;
    for (;;) {
        if (r->at == r->size) {
            r->at = 0;
            r->size = read(r->fd, r->bytes, sizeof r->bytes);
            if (r->size <= 0)
                return false;
        }
        char c = r->bytes[r->at++];
        if (c == '\n')
            break;
        if (length + 1 < LINE)
            line[length++] = c;
    }
    line[length] = 0;
    return true;
}

static const char *hex(const char *text, uint64_t *out)
{
    *out = 0;
    for (;; text++) {
        char c = *text;
        if (c >= '0' && c <= '9')
            *out = *out * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out * 16 + (uint64_t)(c - 'a' + 10);
        else
            return text;
    }
}

// The file that is mapped at an address: /proc/self/maps has "begin-end flags offset device inode   path" a line.
static bool find_file(uintptr_t address, char *line, const char **path, uint64_t *offset)
{
    line_reader r = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    bool found = false;
    while (r.fd >= 0 && !found && read_line(&r, line)) {
        uint64_t begin, end, from;
        const char *at = hex(line, &begin);
        at = *at == '-' ? hex(at + 1, &end) : NULL;
        if (!at || address < begin || address >= end || strlen(at) < 7)
            continue;
        hex(at + 6, &from); // past " r--p "
        *path = strchr(line, '/');
        *offset = from + (address - begin);
        found = *path != NULL;
    }
    if (r.fd >= 0)
        close(r.fd);
    return found;
}

static void put(const char *text)
{
    size_t length = strlen(text);
    while (length) {
        ssize_t done = write(STDERR_FILENO, text, length);
        if (done <= 0)
            return;
        text += done;
        length -= (size_t)done;
    }
}

static void put_number(uint64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = 0;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    put(digits + at);
}

// A signal handler can reach nothing but a global.
static atomic_flag faulted = ATOMIC_FLAG_INIT;

static void on_bus(int number, siginfo_t *info, void *context)
{
    char line[LINE];
    const char *path;
    uint64_t offset;
    struct stat now;
    (void)context;
    while (atomic_flag_test_and_set(&faulted)) // threads that compute meet the lost page together: the first one speaks
        pause();
    if (info->si_code != BUS_ADRERR || !find_file((uintptr_t)info->si_addr, line, &path, &offset)) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    bool shrunk = stat(path, &now) == 0 && offset >= (uint64_t)now.st_size;
    put("ecdit: ");
    put(path);
    put(": at byte ");
    put_number(offset);
    put(shrunk ? ": the file ends before, it has shrunk since it was opened\n" : ": cannot be read any more\n");
    _exit(shrunk ? ECD_DATA : ECD_RESOURCE);
}

void ecd_bus_fault_catch(void)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
