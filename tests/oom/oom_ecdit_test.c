// Out of memory anywhere in libecdit: opening, describing, drawing, closing.
#include <cmocka.h>
#include <string.h>

#include "lib/ecdit.h"
#include "oom/oom.h"

enum { PICTURE = 16 * 16 * 3 };

static ecd_status run(void *user, ecd_diag *diag)
{
    static uint8_t first[2 * PICTURE];
    static int drawn;
    uint8_t pixels[2 * PICTURE];
    const ecdit_picture pictures[] = {{"hen", 0, 7}, {NULL, 3, 8}};
    ecdit_options options = ECDIT_OPTIONS_INIT;
    ecdit_job job = ECDIT_JOB_INIT;
    ecdit_info info = ECDIT_INFO_INIT;
    ecdit_error error;
    ecdit_model *model = NULL;
    options.threads = 2;
    options.backend = ECDIT_BACKEND_CPU;
    options.memory_budget_bytes = UINT64_C(4) << 30;
    job.pictures = pictures;
    job.count = 2;
    job.steps = 1;
    ecdit_status status = ecdit_open(user, &options, &model, &error);
    if (!status)
        status = ecdit_draw(model, &job, pixels, sizeof pixels, &error);
    if (!status)
        status = ecdit_get_info(model, &info, &error);
    ecdit_close(model);
    if (status)
        return ecd_fail(diag, (ecd_status)status, "%s", error.message);
    if (!drawn++)
        memcpy(first, pixels, sizeof first);
    return memcmp(first, pixels, sizeof first) ? ecd_fail(diag, ECD_DATA, "another picture") : ECD_OK;
}

static void whole_library(void **state)
{
    (void)state;
    ecd_oom_result result;
    char model[] = ECD_TEST_DATA "/models/dit_a_fp8_channel";
    ecd_oom_run(run, model, 40, &result);
    if (result.fault[0])
        fail_msg("%s", result.fault);
    assert_true(result.allocations > 300 && result.runs > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_library)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
