#define _GNU_SOURCE
#include "app/common.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifndef ECDIT_VERSION
#error "ECDIT_VERSION comes from the build"
#endif

// A signal handler can reach nothing but a global.
static volatile int interrupted;

_Static_assert(sizeof(sig_atomic_t) == sizeof(int), "the flag is written by a signal handler");

int ecd_app_fail(const ecd_diag *diag)
{
    char line[2 * ECD_DIAG_TEXT + 2 * ECD_DIAG_NAME];
    ecd_diag_format(diag, line, sizeof line);
    fprintf(stderr, "ecdit: %s\n", line);
    return (int)diag->status;
}

ecd_status ecd_app_flush_stdout(ecd_diag *diag)
{
    if (fflush(stdout) || ferror(stdout))
        return ecd_fail(diag, ECD_RESOURCE, "cannot write to standard output: %s", strerror(errno));
    return ECD_OK;
}

const char *ecd_app_version(void)
{
    return ECDIT_VERSION;
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void ecd_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); // a reader that left shows as a failed write, not as a silent death
}

const volatile int *ecd_interrupt_flag(void)
{
    return &interrupted;
}

ecd_status ecd_interrupt_check(ecd_diag *diag)
{
    return interrupted ? ecd_fail(diag, ECD_INTERRUPTED, "interrupted") : ECD_OK;
}
