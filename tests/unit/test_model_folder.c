// Configs, classes and FP8 scales of the reference folders.
#include <cmocka.h>
#include <string.h>

#include "weights/checkpoint.h"
#include "weights/model_folder.h"

#define MODELS ECD_TEST_DATA "/models/"

static void classes(void **state)
{
    (void)state;
    ecd_model_folder folder;
    ecd_diag diag;
    int64_t id = -1;
    assert_int_equal(ecd_model_folder_open(MODELS "dit_a_legacy", &folder, &diag), ECD_OK);
    assert_string_equal(folder.transformer_class, "DiTTransformer2DModel");
    assert_int_equal(ecd_model_folder_class(&folder, " Great GRAY owl ", 1000, &id, &diag), ECD_OK);
    assert_int_equal(id, 3);
    assert_string_equal(ecd_model_folder_label(&folder, 3), "great grey owl");
    assert_null(ecd_model_folder_label(&folder, 6));
    assert_int_equal(ecd_model_folder_class(&folder, "1000", 1000, &id, &diag), ECD_OK);
    assert_int_equal(id, 1000);
    assert_int_equal(ecd_model_folder_class(&folder, "1001", 1000, &id, &diag), ECD_USAGE);
    assert_int_equal(ecd_model_folder_class(&folder, "goldfihs", 1000, &id, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "\"goldfish\""));
    ecd_model_folder_close(&folder);
    ecd_model_folder_close(&folder);
    assert_int_equal(ecd_model_folder_open(MODELS "none", &folder, &diag), ECD_USAGE);
    assert_int_equal(ecd_model_folder_open(MODELS "dit_a/vae", &folder, &diag), ECD_USAGE);
}

static void expect_scale(const char *path, const char *name, ecd_scale_kind kind)
{
    ecd_checkpoint *cp;
    ecd_diag diag;
    assert_int_equal(ecd_checkpoint_open(path, &cp, &diag), ECD_OK);
    const ecd_tensor *weight = ecd_checkpoint_find(cp, "transformer_blocks.1.ff.net.2.weight");
    assert_non_null(weight);
    assert_int_equal(weight->dtype, ECD_E4M3);
    assert_int_equal(weight->scale_kind, kind);
    assert_non_null(weight->scale);
    assert_string_equal(weight->scale->name, name);
    ecd_checkpoint_close(cp);
}

static void scale_spellings(void **state)
{
    (void)state;
    expect_scale(MODELS "dit_a_fp8_tensor/transformer", "transformer_blocks.1.ff.net.2.weight_scale", ECD_SCALE_TENSOR);
    expect_scale(MODELS "dit_a_fp8_comfy/transformer", "transformer_blocks.1.ff.net.2.scale_weight", ECD_SCALE_TENSOR);
    expect_scale(MODELS "dit_a_fp8_channel/transformer", "transformer_blocks.1.ff.net.2.weight_scale", ECD_SCALE_ROW);
    expect_scale(MODELS "dit_a_fp8_block/transformer", "transformer_blocks.1.ff.net.2.weight_scale_inv",
                 ECD_SCALE_BLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(classes), cmocka_unit_test(scale_spellings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
