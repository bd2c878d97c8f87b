// Compressing anew, for test programs.
#ifndef ECD_TESTS_UNIT_COMPRESS_TO_H
#define ECD_TESTS_UNIT_COMPRESS_TO_H

#include "tests/unit/reference.h"

#include "weights/compress.h"
#include "weights/tree.h"

static inline void compress_to(const char *source, const char *target, const char *config)
{
    ecd_diag diag = {0};
    ecd_work_report report;
    const ecd_compress_options options = {.config = config, .threads = 2};
    ecd_folder_remove(target);
    remove(target);
    expect_ok(ecd_compress(source, target, &options, &report, &diag), &diag);
}

#endif
