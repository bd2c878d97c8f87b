// ecdit: dispatch to the subcommands.
#define _GNU_SOURCE
#include "app/bus_fault.h"
#include "app/common.h"
#include "app/help.h"
#include "app/nearest.h"

#include "base/cpu.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} command;

// The subcommands, each in app/cmd_<name>.c.
static const command commands[] = {
    {"generate", ecd_cmd_generate},
    {"compress", ecd_cmd_compress},
    {"decompress", ecd_cmd_decompress},
    {"verify", ecd_cmd_verify},
    {"inspect", ecd_cmd_inspect},
    {"diff", ecd_cmd_diff},
    {"bench", ecd_cmd_bench},
    {"bench-run", ecd_cmd_bench_run}, // hidden: has no help
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

static int print(const char *text)
{
    ecd_diag diag = {0};
    fputs(text, stdout);
    return ecd_app_flush_stdout(&diag) ? ecd_app_fail(&diag) : ECD_OK;
}

static int fail_unknown(const char *word)
{
    const char *names[COMMANDS + 1] = {NULL};
    ecd_diag diag = {0};
    size_t count = 0;
    for (size_t i = 0; i < COMMANDS; i++)
        if (ecd_help_of(commands[i].name))
            names[count++] = commands[i].name;
    const char *nearest = ecd_nearest(word, names);
    if (nearest)
        ecd_fail(&diag, ECD_USAGE, "%s: unknown command, did you mean \"ecdit %s\"?", word, nearest);
    else
        ecd_fail(&diag, ECD_USAGE, "%s: unknown command, see ecdit --help", word);
    return ecd_app_fail(&diag);
}

static int run(int argc, char **argv)
{
    ecd_diag diag = {0};
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[0], commands[i].name))
            continue;
        const char *help = ecd_help_of(argv[0]);
        if (help && wants_help(argc, argv))
            return print(help);
        if (ecd_cpu_init(&diag))
            return ecd_app_fail(&diag);
        ecd_interrupt_catch();
        ecd_bus_fault_catch();
        // glibc else raises the size from which an allocation goes back to the system when it is freed, up to 32 MB:
        // then what is freed still counts, and no plan could say how much.
        mallopt(M_MMAP_THRESHOLD, 128 << 10);
        return commands[i].run(argc, argv);
    }
    return fail_unknown(argv[0]);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs(ecd_help_of(NULL), stderr);
        return ECD_USAGE;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("ecdit %s\n", ecd_app_version());
        return print("");
    }
    if (is_help(argv[1]) || !strcmp(argv[1], "help")) {
        const char *topic = argc > 2 ? argv[2] : NULL, *text = ecd_help_of(topic);
        return text ? print(text) : fail_unknown(topic);
    }
    return run(argc - 1, argv + 1);
}
