// Out of memory anywhere while a model folder, a checkpoint and a VAE are opened.
#define _GNU_SOURCE
#include <cmocka.h>

#include "codec/ecf8.h"
#include "oom/oom.h"
#include "vae/vae.h"
#include "weights/checkpoint.h"
#include "weights/compress.h"
#include "weights/json.h"
#include "weights/model_folder.h"
#include "weights/store.h"
#include "weights/tree.h"

#include <cjson/cJSON.h>

static ecd_status open_folder(void *user, ecd_diag *diag)
{
    ecd_model_folder folder = {0};
    int64_t id;
    ecd_status status = ecd_model_folder_open(user, &folder, diag);
    if (!status)
        status = ecd_model_folder_class(&folder, "1", 9, &id, diag);
    ecd_model_folder_close(&folder);
    return status;
}

static ecd_status open_checkpoint(void *user, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    ecd_status status = ecd_checkpoint_open(user, &cp, diag);
    ecd_checkpoint_close(cp);
    return status;
}

static ecd_status open_vae(void *user, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    ecd_backend *be = NULL;
    ecd_vae *vae = NULL;
    cJSON *config = NULL;
    float latents[4 * 6 * 5] = {0}, picture[3 * 12 * 10];
    (void)user;
    ecd_status status = ecd_json_read(ECD_TEST_DATA "/models/dit_a/vae/config.json", &config, diag);
    if (!status)
        status = ecd_checkpoint_open(ECD_TEST_DATA "/models/dit_a/vae", &cp, diag);
    if (!status)
        status = ecd_backend_open(&(ecd_backend_options){.name = "ref", .threads = 1}, &be, diag);
    if (!status)
        status = ecd_vae_open(config, cp, be, &(ecd_vae_options){.with_encoder = true, .tile = 8}, &vae, diag);
    if (!status)
        status = ecd_vae_decode(vae, latents, 6, 5, picture, diag);
    ecd_vae_close(vae);
    ecd_backend_close(be);
    ecd_checkpoint_close(cp);
    cJSON_Delete(config);
    return status;
}

// A store that keeps, decodes and reads blocks: `user` is the budget that leaves room for some.
static ecd_status open_store(void *user, ecd_diag *diag)
{
    static const ecd_tensor_spec specs[] = {
        {.name = "ff.net.0.proj.weight", .dims = 2, .shape = {288, 72}},
        {.name = "ff.net.2.weight", .dims = 2, .shape = {72, 288}},
        {.name = "ff.net.2.bias", .kind = ECD_SPEC_VECTOR, .dims = 1, .shape = {72}},
    };
    static const ecd_block_spec blocks[] = {{.prefix = "transformer_blocks.0.", .tensors = specs, .count = 3},
                                            {.prefix = "transformer_blocks.1.", .tensors = specs, .count = 3},
                                            {.prefix = "transformer_blocks.2.", .tensors = specs, .count = 3}};
    ecd_store_options options = {.budget_bytes = *(uint64_t *)user, .read_ahead = true, .rows = 1};
    ecd_checkpoint *cp = NULL;
    ecd_backend *be = NULL;
    ecd_store *store = NULL;
    ecd_status status = ecd_checkpoint_open(ECD_TEST_DATA "/models/dit_a/transformer", &cp, diag);
    if (!status)
        status = ecd_backend_open(&(ecd_backend_options){.name = "ref", .threads = 1}, &be, diag);
    if (!status)
        status = ecd_store_open(cp, be, blocks, 3, &options, &store, diag);
    for (int i = 0; i < 6 && !status; i++) {
        ecd_block block;
        status = ecd_store_acquire(store, i % 3, &block, diag);
        if (!status)
            ecd_store_release(store, i % 3);
    }
    ecd_store_report report = {0};
    if (store)
        ecd_store_report_get(store, &report);
    if (!status && (!report.planned || !report.plan.counts[ECD_BLOCK_STREAMED]))
        status = ecd_fail(diag, ECD_DATA, "nothing is streamed, expected a budget that is too small for all");
    ecd_store_close(store);
    ecd_backend_close(be);
    ecd_checkpoint_close(cp);
    return status;
}

static void store(void **cmocka)
{
    (void)cmocka;
    uint64_t budget = ECF8_DECODER_MAX_BYTES * 2 + 400 * 1024;
    ecd_oom_result result;
    ecd_oom_run(open_store, &budget, 300, &result);
    if (result.fault[0])
        fail_msg("%s", result.fault);
    assert_true(result.allocations > 30);
}

static void check(ecd_oom_attempt attempt, const char *path)
{
    ecd_oom_result result;
    ecd_oom_run(attempt, (void *)(uintptr_t)path, 300, &result);
    if (result.fault[0])
        fail_msg("%s: %s", path, result.fault);
    assert_true(result.allocations > 10);
}

static void model_folders(void **cmocka)
{
    (void)cmocka;
    check(open_folder, ECD_TEST_DATA "/models/dit_a");
}

static void checkpoints(void **cmocka)
{
    (void)cmocka;
    check(open_checkpoint, ECD_TEST_DATA "/models/dit_a/transformer");
    check(open_checkpoint, ECD_TEST_DATA "/models/dit_a_legacy/transformer");
    check(open_checkpoint, ECD_TEST_DATA "/models/dit_a_fp8_channel/transformer");
}

// In the published format: made while memory is there, then opened.
static void published(void **cmocka)
{
    (void)cmocka;
    static const ecd_compress_options options = {.published = true, .threads = 1};
    ecd_work_report report;
    ecd_diag diag = {0};
    if (ecd_path_exists("oom.published"))
        ecd_folder_remove("oom.published");
    assert_int_equal(
        ecd_compress(ECD_TEST_DATA "/models/dit_a_fp8_channel", "oom.published", &options, &report, &diag), ECD_OK);
    check(open_checkpoint, "oom.published/transformer");
    ecd_folder_remove("oom.published");
}

static void vae(void **cmocka)
{
    (void)cmocka;
    check(open_vae, ECD_TEST_DATA "/models/dit_a/vae");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_folders),
        cmocka_unit_test(checkpoints),
        cmocka_unit_test(published),
        cmocka_unit_test(vae),
        cmocka_unit_test(store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
