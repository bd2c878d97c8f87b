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

static ecd_status draw(void *user, ecd_diag *diag)
{
    const ecd_weights_mode *mode = user;
    ecd_backend *be = NULL;
    ecd_pipeline *pipeline = NULL;
    ecd_status status = ecd_backend_open(&(ecd_backend_options){.name = "ref", .threads = 1}, &be, diag);
    if (status)
        return status;
    const ecd_pipeline_options options = {.model = ECD_TEST_DATA "/models/dit_a",
                                          .backend = be,
                                          .store = {.mode = *mode, .read_ahead = true},
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

static void check_mode(ecd_weights_mode mode)
{
    ecd_oom_result result;
    ecd_oom_run(draw, &mode, 150, &result);
    assert_string_equal(result.fault, "");
    assert_true(result.allocations > 100);
}

static void raw_weights(void **cmocka)
{
    (void)cmocka;
    check_mode(ECD_WEIGHTS_RAW);
}

static void ecf8_weights(void **cmocka)
{
    (void)cmocka;
    check_mode(ECD_WEIGHTS_ECF8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(raw_weights), cmocka_unit_test(ecf8_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
