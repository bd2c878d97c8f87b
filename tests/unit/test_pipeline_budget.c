// Pictures under memory budgets from the least to all: the same bytes, whatever the plan makes of the weights.
#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "dit/pipeline/pipeline.h"
#include "weights/compress.h"
#include "weights/tree.h"

enum { PICTURES = 2, MAX_BYTES = 64 * 64 * 3 };

typedef struct album {
    uint8_t rgb[PICTURES][MAX_BYTES];
    size_t bytes;
} album;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    album *a = user;
    (void)diag;
    a->bytes = (size_t)(height * width * 3);
    assert_true(a->bytes <= MAX_BYTES);
    memcpy(a->rgb[index], rgb, a->bytes);
    return ECD_OK;
}

typedef struct run {
    const char *folder, *backend;
    int threads;
    ecd_weights_mode mode;
    ecd_vae_stay vae;
    uint64_t budget;
} run;

// VmHWM becomes what is resident now; false where the kernel does not do that.
static bool forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    bool done = file && fputs("5", file) >= 0;
    return file && !fclose(file) && done;
}

static ecd_status draw(const run *r, album *a, ecd_pipeline_report *report)
{
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    ecd_pipeline *p = NULL;
    ecd_backend_options backend = {.name = r->backend, .compute = ECD_COMPUTE_F32, .threads = r->threads};
    assert_int_equal(ecd_backend_open(&backend, &be, &diag), ECD_OK);
    ecd_pipeline_options options = {
        .model = r->folder,
        .backend = be,
        .max_pictures = PICTURES,
        .guidance = true,
        .vae = r->vae,
        .store = {.mode = r->mode, .read_ahead = true, .budget_bytes = r->budget, .rates_file = "budget_rates.json"}};
    bool measured = forget_peak();
    ecd_status status = ecd_pipeline_open(&options, &p, &diag);
    const ecd_picture_request pictures[PICTURES] = {{1, 7}, {3, 8}};
    const ecd_draw call = {.pictures = pictures, .count = PICTURES, .steps = 2, .guidance = 4, .sink = keep, .user = a};
    for (int i = 0; !status && i < 2; i++) // twice: what rested for the VAE comes back
        status = ecd_pipeline_draw(p, &call, &diag);
    if (status)
        assert_int_equal(status, ECD_RESOURCE);
    else
        ecd_pipeline_report_get(p, report);
    if (!status && r->budget && measured && ecd_peak_rss_bytes() > r->budget)
        fail_msg("%.2f MiB resident under a budget of %.2f MiB", (double)ecd_peak_rss_bytes() / 0x1p20,
                 (double)r->budget / 0x1p20);
    if (status && !strstr(diag.what, "the least is"))
        fail_msg("%s", diag.what);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    return status;
}

// From what holds all downwards, until even the least is refused. What the process holds grows a little from run to
// run, so that each budget is measured from a run just before.
static void check(run r, const album *expected, int seen[ECD_BLOCK_KINDS], int *staged, int *lean)
{
    ecd_pipeline_report report;
    album *a = calloc(1, sizeof *a);
    char text[512];
    int drawn = 0;
    assert_non_null(a);
    for (uint64_t less = 0; less < 1024 << 10; less += 20 << 10) {
        r.budget = 1 << 30;
        assert_int_equal(draw(&r, a, &report), ECD_OK);
        assert_memory_equal(a, expected, sizeof *a);
        assert_true(report.store.together);
        r.budget = report.store.planned_bytes + (128 << 10) - less; // what a busy machine adds
        memset(a, 0, sizeof *a);
        if (draw(&r, a, &report))
            continue;
        drawn++;
        assert_memory_equal(a, expected, sizeof *a);
        assert_true(report.store.planned && report.store.planned_bytes <= r.budget);
        assert_true(ecd_pipeline_plan_text(&report, text, sizeof text) < sizeof text);
        for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
            seen[kind] += report.store.plan.counts[kind];
        *staged += report.vae_staged;
        *lean += report.vae_lean;
    }
    assert_in_range(drawn, 1, 51);
    free(a);
}

static void same_pictures(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); // its allocator keeps what is freed: budgets of less than a megabyte mean nothing
#endif
    ecd_diag diag = {0};
    ecd_compress_options options = {0};
    ecd_work_report work;
    ecd_pipeline_report report;
    album *expected = calloc(1, sizeof *expected);
    const char *raw = ECD_TEST_DATA "/models/dit_a_fp8_channel", *coded = "test_pipeline_budget.coded";
    int seen[ECD_BLOCK_KINDS] = {0}, staged = 0, lean = 0;
    assert_non_null(expected);
    ecd_folder_remove(coded);
    assert_int_equal(ecd_compress(raw, coded, &options, &work, &diag), ECD_OK);
    run r = {.folder = raw, .backend = "cpu", .threads = 1, .mode = ECD_WEIGHTS_RAW};
    assert_int_equal(draw(&r, expected, &report), ECD_OK);
    check(r, expected, seen, &staged, &lean);
    r = (run){.folder = coded, .backend = "cpu", .threads = 3, .mode = ECD_WEIGHTS_ECF8};
    check(r, expected, seen, &staged, &lean);
    r.vae = ECD_VAE_RESIDENT;
    check(r, expected, seen, &staged, &lean);
    // Blocks this small are not worth their pages as ECF8 in memory; test_store_budget has those.
    assert_true(seen[ECD_BLOCK_READY] && seen[ECD_BLOCK_STREAMED] && staged && lean);
    ecd_folder_remove(coded);
    unlink("budget_rates.json");
    free(expected);
}

int main(void)
{
    mallopt(M_MMAP_THRESHOLD, 128 << 10); // as the program has it: what is freed is gone
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_pictures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
