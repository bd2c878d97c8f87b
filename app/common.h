// What every subcommand shares: messages, interruption, the version.
//
// A subcommand is `int ecd_cmd_<name>(int argc, char **argv)`: argv[0] is its name, the value is the exit status
// (an ecd_status). Help is printed by main.c before a subcommand runs.
#ifndef ECD_APP_COMMON_H
#define ECD_APP_COMMON_H

#include "base/status.h"

// Prints "ecdit: LINE" on standard error and returns the diagnosis' status as exit status.
int ecd_app_fail(const ecd_diag *diag);

// ECD_RESOURCE unless everything written to standard output has arrived (a full disk, a closed pipe).
ecd_status ecd_app_flush_stdout(ecd_diag *diag);

const char *ecd_app_version(void); // "0.1.0"

// Ctrl-C (SIGINT) and SIGTERM: the first sets the flag below, the second ends the program as if nothing were caught.
// Code that works for long looks at the flag and gives up with ECD_INTERRUPTED.
void ecd_interrupt_catch(void);
const volatile int *ecd_interrupt_flag(void);
ecd_status ecd_interrupt_check(ecd_diag *diag); // ECD_INTERRUPTED once the flag is set

int ecd_cmd_generate(int argc, char **argv);
int ecd_cmd_compress(int argc, char **argv);
int ecd_cmd_decompress(int argc, char **argv);
int ecd_cmd_verify(int argc, char **argv);
int ecd_cmd_inspect(int argc, char **argv);
int ecd_cmd_diff(int argc, char **argv);
int ecd_cmd_bench(int argc, char **argv);
int ecd_cmd_bench_run(int argc, char **argv); // hidden: one measurement, started by bench

#endif
