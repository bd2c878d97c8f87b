// Comparing files, for test programs.
#ifndef ECD_TESTS_UNIT_FILES_H
#define ECD_TESTS_UNIT_FILES_H

#include <cmocka.h>

#include "base/file.h"

static inline void same_file(const char *a, const char *b)
{
    ecd_file x, y;
    ecd_diag diag = {0};
    assert_int_equal(ecd_file_map(a, &x, &diag), ECD_OK);
    assert_int_equal(ecd_file_map(b, &y, &diag), ECD_OK);
    assert_int_equal(x.size_bytes, y.size_bytes);
    if (x.size_bytes)
        assert_memory_equal(x.data, y.data, x.size_bytes);
    ecd_file_unmap(&x);
    ecd_file_unmap(&y);
}

#endif
