// Out of memory anywhere while a model is opened and a picture drawn.
#define _GNU_SOURCE
#include <cmocka.h>

#include "dit/pipeline/pipeline.h"
#include "oom/oom.h"

static ecd_status keep_nothing(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width,
                               ecd_diag *diag)
{
    (void)user, (void)index, (void)rgb, (void)height, (void)width, (void)diag;
    return ECD_OK;
}

struct model {
    const char *folder;
    ecd_weights_mode mode;
};

static ecd_status draw(void *user, ecd_diag *diag)
{
    const struct model *model = user;
    ecd_backend *be = NULL;
    ecd_pipeline *pipeline = NULL;
    ecd_status status = ecd_backend_open(&(ecd_backend_options){.name = "ref", .threads = 1}, &be, diag);
    if (status)
        return status;
    const ecd_pipeline_options options = {.model = model->folder,
                                          .backend = be,
                                          .store = {.mode = model->mode, .read_ahead = true},
                                          .max_pictures = 1,
                                          .guidance = true};
    status = ecd_pipeline_open(&options, &pipeline, diag);
    if (!status) {
        const ecd_picture_request picture = {.class_id = 1, .seed = 7};
        const ecd_draw call = {.pictures = &picture, .count = 1, .steps = 1, .guidance = 2, .sink = keep_nothing};
        status = ecd_pipeline_draw(pipeline, &call, diag);
    }
    ecd_pipeline_close(pipeline);
    ecd_backend_close(be);
    return status;
}

static void check(struct model model)
{
    ecd_oom_result result;
    ecd_oom_run(draw, &model, 150, &result);
    if (result.fault[0])
        fail_msg("%s: %s", model.folder, result.fault);
    assert_true(result.allocations > 100);
}

static void raw_weights(void **cmocka)
{
    (void)cmocka;
    check((struct model){ECD_TEST_DATA "/models/dit_a", ECD_WEIGHTS_RAW});
}

// FP8 weights, encoded at opening and decoded at each use by two threads.
static void ecf8_weights(void **cmocka)
{
    (void)cmocka;
    check((struct model){ECD_TEST_DATA "/models/dit_a_fp8_channel", ECD_WEIGHTS_ECF8});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(raw_weights), cmocka_unit_test(ecf8_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
