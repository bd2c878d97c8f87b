// Out of memory anywhere while a single file of other programs is opened as components, compressed, or made a folder
// of.
#include <cmocka.h>
#include <stdio.h>

#include "oom/oom.h"
#include "tests/unit/single_file.h"
#include "weights/component.h"
#include "weights/compress.h"
#include "weights/model_folder.h"
#include "weights/tree.h"

static const char *const folder = ECD_TEST_DATA "/models/flux_c", *const file = "oom.single.safetensors";

static ecd_status open_components(void *user, ecd_diag *diag)
{
    static const char *const components[] = {"transformer", "vae", "text_encoder", "text_encoder_2"};
    ecd_status status = ECD_OK;
    for (int i = 0; !status && i < 4; i++) {
        ecd_checkpoint *cp = NULL;
        status = ecd_component_open(user, components[i], &cp, diag);
        ecd_checkpoint_close(cp);
    }
    return status;
}

static ecd_status open_folder(void *user, ecd_diag *diag)
{
    ecd_model_folder model = {0};
    ecd_checkpoint *cp = NULL;
    ecd_status status = ecd_model_folder_open_with(user, folder, &model, diag);
    if (!status)
        status = ecd_model_folder_weights(&model, "vae", &cp, diag);
    ecd_checkpoint_close(cp);
    ecd_model_folder_close(&model);
    return status;
}

static ecd_status list_folder(void *user, ecd_diag *diag)
{
    ecd_tree tree;
    ecd_status status = ecd_tree_parts(user, folder, &tree, diag);
    if (!status)
        ecd_tree_free(&tree);
    return status;
}

static ecd_status compare(void *user, ecd_diag *diag)
{
    ecd_work_report report;
    const ecd_compress_options options = {.threads = 1};
    return ecd_verify(user, "oom.made", &options, &report, diag);
}

static void check(ecd_oom_attempt attempt, const char *path, long every)
{
    ecd_oom_result result;
    ecd_oom_run(attempt, (void *)(uintptr_t)path, every, &result);
    if (result.fault[0])
        fail_msg("%s: %s", path, result.fault);
    assert_true(result.allocations > 100);
}

static void components(void **state)
{
    (void)state;
    check(open_components, file, 100);
    check(open_components, "oom.coded.safetensors", 100);
    check(open_folder, file, 100);
}

static void folders(void **state)
{
    (void)state;
    check(list_folder, file, 100);
    check(compare, file, 30);
    check(compare, "oom.coded.safetensors", 30);
}

static int set_up(void **state)
{
    (void)state;
    static const single_options plain = {.scales = SINGLE_TENSOR};
    ecd_work_report report;
    ecd_diag diag = {0};
    const ecd_compress_options options = {.threads = 1};
    write_single_file(file, folder, &plain);
    const ecd_compress_options whole = {.config = folder, .threads = 1};
    remove("oom.coded.safetensors");
    ecd_folder_remove("oom.made");
    return ecd_compress(file, "oom.coded.safetensors", &options, &report, &diag) ||
           ecd_compress(file, "oom.made", &whole, &report, &diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(components), cmocka_unit_test(folders)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
