// Configs that a transformer refuses, for test programs.
#ifndef ECD_TESTS_UNIT_TRANSFORMER_CONFIG_H
#define ECD_TESTS_UNIT_TRANSFORMER_CONFIG_H

#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "dit/transformer/transformer.h"

static inline void refuse_config(const char *class_name, const char *text, const char *says)
{
    ecd_diag diag = {0};
    ecd_transformer_info info;
    cJSON *config = cJSON_Parse(text);
    assert_int_equal(ecd_transformer_describe(class_name, config, &info, &diag), ECD_DATA);
    if (!strstr(diag.what, says))
        fail_msg("\"%s\" does not say %s", diag.what, says);
    assert_int_equal(ecd_transformer_describe("UNet2DModel", config, &info, &diag), ECD_USAGE);
    cJSON_Delete(config);
}

#endif
