// What compress, decompress and verify share: two folders, progress, the report.
#ifndef ECD_APP_WORK_H
#define ECD_APP_WORK_H

#include "app/options.h"
#include "weights/compress.h"

typedef ecd_status (*ecd_work_call)(const char *first, const char *second, const ecd_compress_options *options,
                                    ecd_work_report *report, ecd_diag *diag);

typedef struct ecd_work_command {
    const char *names; // of the two arguments, "SRC DST"
    const char *done;  // "compressed"
    ecd_work_call call;
    bool encodes;      // takes --level and --quantize
} ecd_work_command;

// Runs a whole subcommand; the value is the exit status.
int ecd_work_command_run(const ecd_work_command *command, int argc, char **argv);

#endif
