// A file of rates (weights/store.h), for tests whose plans are not to depend on what was measured.
#ifndef ECD_TESTS_RATES_FILE_H
#define ECD_TESTS_RATES_FILE_H

#include <cmocka.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "weights/json.h"

// Puts these in place of all that were measured. At least one run must have been.
static inline void set_rates(const char *path, double decode, double read, double multiply)
{
    ecd_diag diag = {0};
    cJSON *root = NULL, *entry;
    assert_int_equal(ecd_json_read(path, &root, &diag), ECD_OK);
    assert_true(cJSON_GetArraySize(root) > 0);
    cJSON_ArrayForEach(entry, root)
    {
        cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "decode"), decode);
        cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "read"), read);
        cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "multiply"), multiply);
    }
    char *text = cJSON_Print(root);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    cJSON_free(text);
    cJSON_Delete(root);
}

#endif
