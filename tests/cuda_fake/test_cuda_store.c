// Weights of whole pictures on the emulated device, under device memory budgets from the least to all: the same pictures, within
// the memory that was planned; published ECF8 decoded there; allocations that fail and kernels that fault, one a run.
#include "tests/unit/reference.h"

#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "kernels/cuda/cuda.h"
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"
#include "tests/unit/rates_file.h"
#include "weights/compress.h"
#include "weights/tree.h"

enum { PICTURES = 2, BYTES = 16 * 16 * 3 };

static const char raw[] = ECD_TEST_DATA "/models/dit_a_fp8_tensor", coded[] = "test_cuda_store.coded",
                  published[] = "test_cuda_store.published", rates[] = "test_cuda_store_rates.json";

typedef struct run {
    const char *folder;
    ecd_weights_mode mode;
    uint64_t budget;
    ecd_vae_stay vae;
    int64_t pictures;
    int first; // seed of the first picture
    int steps; // 0: one
    ecd_compute compute; // ECD_COMPUTE_AUTO: bf16
    bool check_crc;
} run;

typedef struct album {
    uint8_t rgb[PICTURES][BYTES];
    ecd_pipeline_report report;
    uint64_t peak, least; // least: of the budget, where it was too small
} album;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    album *a = user;
    (void)diag;
    assert_int_equal(height * width * 3, BYTES);
    memcpy(a->rgb[index], rgb, BYTES);
    return ECD_OK;
}

static ecd_status draw(const run *r, album *a, ecd_diag *diag)
{
    ecd_backend *be = NULL;
    ecd_pipeline *p = NULL;
    const ecd_compute compute = r->compute == ECD_COMPUTE_AUTO ? ECD_COMPUTE_BF16 : r->compute;
    const ecd_backend_options cuda = {.name = "cuda", .compute = compute, .threads = 1};
    memset(a, 0, sizeof *a);
    emu_forget_peak();
    ecd_status status = ecd_cuda_open_with(&cuda, &(ecd_cuda_libraries){"", ""}, &be, diag);
    const ecd_pipeline_options options = {
        .model = r->folder,
        .backend = be,
        .max_pictures = r->pictures,
        .vae = r->vae,
        .store = {.mode = r->mode,
                  .read_ahead = true,
                  .budget_bytes = r->budget,
                  .check_crc = r->check_crc,
                  .rates_file = rates,
                  .least_bytes = &a->least}};
    if (!status)
        status = ecd_pipeline_open(&options, &p, diag);
    ecd_picture_request pictures[PICTURES];
    for (int i = 0; i < PICTURES; i++)
        pictures[i] = (ecd_picture_request){i + r->first, (uint64_t)(3 + i + r->first)};
    const ecd_draw call = {
        .pictures = pictures, .count = r->pictures, .steps = r->steps ? r->steps : 1, .guidance = 1, .sink = keep, .user = a};
    if (!status)
        status = ecd_pipeline_draw(p, &call, diag);
    if (!status)
        ecd_pipeline_report_get(p, &a->report);
    a->peak = emu_counted().peak_bytes;
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    return status;
}

static void expect_all_back(void)
{
    const emu_counts c = emu_counted();
    assert_int_equal(c.allocations + c.device_bytes + c.pinned + c.objects, 0);
    assert_int_equal(ecd_fake_counted().objects, 0);
}

static void draw_well(const run *r, album *a)
{
    ecd_diag diag = {0};
    expect_ok(draw(r, a, &diag), &diag);
    assert_null(ecd_fake_error());
    expect_all_back();
}

static uint64_t least_of(run r)
{
    album a;
    ecd_diag diag = {0};
    r.budget = 1;
    assert_int_equal(draw(&r, &a, &diag), ECD_RESOURCE);
    assert_non_null(strstr(diag.what, "a device memory budget of"));
    assert_non_null(strstr(diag.what, "the least is"));
    expect_all_back();
    return a.least;
}

static int set_up(void **state)
{
    ecd_diag diag = {0};
    ecd_work_report report;
    static album expected;
    ecd_folder_remove(coded);
    ecd_folder_remove(published);
    expect_ok(ecd_compress(raw, coded, &(ecd_compress_options){.threads = 1}, &report, &diag), &diag);
    expect_ok(ecd_compress(raw, published, &(ecd_compress_options){.threads = 1, .published = true}, &report, &diag), &diag);
    draw_well(&(run){.folder = raw, .mode = ECD_WEIGHTS_RAW, .pictures = PICTURES}, &expected);
    run r = {.folder = coded, .mode = ECD_WEIGHTS_ECF8, .pictures = 1, .vae = ECD_VAE_RESIDENT};
    static album first;
    r.budget = least_of(r);
    draw_well(&r, &first);
    set_rates(rates, 1e9, 1e8, 1e10); // a device that decodes faster than it is sent to
    *state = &expected;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ecd_folder_remove(coded);
    ecd_folder_remove(published);
    remove(rates);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    emu_clear();
    emu_fail_allocation(0);
    emu_fail_launch(0);
    ecd_fake_clear();
    return 0;
}

// From the least budget to one that holds all.
static void check_budgets(const album *expected, run r, int points, int seen[ECD_BLOCK_KINDS])
{
    album a;
    r.budget = (uint64_t)1 << 32;
    draw_well(&r, &a);
    uint64_t all = a.report.store.planned_bytes, least = least_of(r);
    assert_true(least < all);
    for (int i = 0; i < points; i++) {
        r.budget = least + (all - least) * (uint64_t)i / (uint64_t)(points - 1);
        draw_well(&r, &a);
        const ecd_store_report *s = &a.report.store;
        assert_memory_equal(a.rgb, expected->rgb, (size_t)r.pictures * BYTES);
        if (a.peak > s->planned_bytes || s->planned_bytes > r.budget)
            fail_msg("%llu bytes of the device, %llu planned, a budget of %llu", (unsigned long long)a.peak,
                     (unsigned long long)s->planned_bytes, (unsigned long long)r.budget);
        assert_true((s->read_bytes > 0) == (s->plan.counts[ECD_BLOCK_STREAMED] > 0) && !s->read_bytes == !s->pinned_bytes);
        for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
            seen[kind] += s->plan.counts[kind];
    }
}

static void every_budget(void **state)
{
    const album *expected = *state;
    int seen[2][ECD_BLOCK_KINDS] = {{0}};
    run r = {.folder = raw, .mode = ECD_WEIGHTS_RAW, .pictures = 1, .vae = ECD_VAE_RESIDENT};
    check_budgets(expected, r, 3, seen[0]);
    r.folder = coded;
    r.mode = ECD_WEIGHTS_ECF8;
    check_budgets(expected, r, 4, seen[1]);
    for (int i = 0; i < 2; i++)
        assert_true(seen[i][ECD_BLOCK_READY] && seen[i][ECD_BLOCK_STREAMED]);
    album a; // of three small blocks none is worth its buffer under a budget: without one all are decoded at each use
    draw_well(&r, &a);
    assert_int_equal(a.report.store.plan.counts[ECD_BLOCK_DECODED], 3);
    assert_memory_equal(a.rgb[0], expected->rgb[0], BYTES);
}

// E4M3 is decoded to BF16 where products take that, once to its own type for the checksums; in f32 it is not. Without a budget
// and under one that has room for it, as which raw weights are held as BF16 too, the same pictures; under the least it is sent
// and decoded to its own type.
static void decoded_wide(void **state)
{
    const album *expected = *state;
    album own, wide, checked, ready;
    run r = {.folder = coded, .mode = ECD_WEIGHTS_ECF8, .pictures = 1, .vae = ECD_VAE_RESIDENT, .compute = ECD_COMPUTE_F32};
    draw_well(&r, &own);
    r.compute = ECD_COMPUTE_BF16;
    draw_well(&r, &wide);
    assert_int_equal(wide.report.store.buffer_bytes, 2 * own.report.store.buffer_bytes);
    assert_memory_equal(wide.rgb[0], expected->rgb[0], BYTES);
    r.check_crc = true;
    r.steps = 2;
    draw_well(&r, &checked);
    r.check_crc = false;
    r.budget = (uint64_t)1 << 32;
    draw_well(&r, &ready);
    assert_memory_equal(ready.rgb[0], checked.rgb[0], BYTES);
    assert_int_equal(ready.report.store.plan.counts[ECD_BLOCK_READY], 3);
    assert_true(ready.report.store.weights_bytes > own.report.store.raw_bytes);
    album raw_ready, raw_own;
    run plain = {.folder = raw, .mode = ECD_WEIGHTS_RAW, .pictures = 1, .vae = ECD_VAE_RESIDENT, .steps = 2};
    draw_well(&plain, &raw_own);
    plain.budget = r.budget;
    draw_well(&plain, &raw_ready);
    assert_memory_equal(raw_ready.rgb[0], raw_own.rgb[0], BYTES);
    assert_memory_equal(raw_ready.rgb[0], checked.rgb[0], BYTES);
    assert_int_equal(raw_ready.report.store.weights_bytes, ready.report.store.weights_bytes);
    assert_true(raw_ready.report.store.weights_bytes > raw_own.report.store.weights_bytes);
    r.budget = least_of(r);
    draw_well(&r, &own);
    assert_memory_equal(own.rgb[0], checked.rgb[0], BYTES);
    assert_true(own.report.store.buffer_bytes < wide.report.store.buffer_bytes);
}

// The VAE in the weights' place, which are given up for it and come again.
static void vae_staged(void **state)
{
    const album *expected = *state;
    album a;
    run r = {.folder = coded, .mode = ECD_WEIGHTS_ECF8, .pictures = 1};
    r.budget = least_of(r);
    draw_well(&r, &a);
    assert_true(a.report.vae_staged && !a.report.store.together);
    assert_memory_equal(a.rgb[0], expected->rgb[0], BYTES);
    assert_true(a.peak <= a.report.store.planned_bytes && a.report.store.planned_bytes <= r.budget);
}

// Over steps, of which each has all blocks sent anew.
static void several_steps(void **state)
{
    (void)state;
    album all, a;
    run r = {.folder = raw, .mode = ECD_WEIGHTS_RAW, .pictures = 1, .vae = ECD_VAE_RESIDENT, .steps = 2};
    draw_well(&r, &all);
    r.folder = coded;
    r.mode = ECD_WEIGHTS_ECF8;
    r.budget = least_of(r);
    draw_well(&r, &a);
    assert_memory_equal(a.rgb[0], all.rgb[0], BYTES);
    const ecd_store_report *s = &a.report.store;
    assert_in_range(s->read_bytes, 2 * s->plan.read_bytes, 3 * s->plan.read_bytes);
}

// A batch's second picture is the one that it is alone, from weights that are sent.
static void batch_positions(void **state)
{
    const album *expected = *state;
    album a;
    run r = {.folder = coded, .mode = ECD_WEIGHTS_ECF8, .pictures = 1, .first = 1, .vae = ECD_VAE_RESIDENT};
    r.budget = least_of(r);
    draw_well(&r, &a);
    assert_int_equal(a.report.store.plan.counts[ECD_BLOCK_STREAMED], 3);
    assert_memory_equal(a.rgb[0], expected->rgb[1], BYTES);
}

// Groups of published ECF8, held there and sent.
static void published_groups(void **state)
{
    const album *expected = *state;
    album a;
    run r = {.folder = published, .mode = ECD_WEIGHTS_AUTO, .pictures = 1, .vae = ECD_VAE_RESIDENT};
    for (int i = 0; i < 2; i++) {
        draw_well(&r, &a);
        assert_memory_equal(a.rgb[0], expected->rgb[0], BYTES);
        assert_int_equal(a.report.store.decode_ns, 0); // not by the host
        assert_int_equal(a.report.store.plan.counts[i ? ECD_BLOCK_STREAMED : ECD_BLOCK_DECODED], 3);
        r.budget = least_of(r);
    }
}

// The device's memory runs out at the Nth allocation, of weights held and sent.
static void memory_out(void **state)
{
    const album *expected = *state;
    run r = {.folder = coded, .mode = ECD_WEIGHTS_ECF8, .pictures = 1, .vae = ECD_VAE_RESIDENT};
    r.budget = least_of(r);
    uint64_t n = 1;
    int runs = 0;
    for (;; n += n < 30 ? 1 : 8, runs++) { // each of opening's, then some of the VAE's many
        album a;
        ecd_diag diag = {0};
        emu_fail_allocation(n);
        ecd_status status = draw(&r, &a, &diag);
        emu_fail_allocation(0);
        expect_all_back();
        if (status == ECD_OK) {
            assert_memory_equal(a.rgb[0], expected->rgb[0], BYTES);
            break;
        }
        assert_int_equal(status, ECD_RESOURCE);
        assert_non_null(strstr(diag.what, "memory"));
        assert_true(n < 200);
    }
    print_message("%d of %llu allocations failed, one a run\n", runs, (unsigned long long)n - 1);
    assert_true(runs > 20);
}

// A fault of the Nth kernel stays, as on a device: the status and the words are those of a device, and all is given back.
static void kernel_fault(void **state)
{
    (void)state;
    run r = {.folder = coded, .mode = ECD_WEIGHTS_ECF8, .pictures = 1, .vae = ECD_VAE_RESIDENT};
    r.budget = least_of(r);
    uint64_t n = 1;
    int runs = 0;
    for (;; n += n < 6 ? 1 : n, runs++) {
        album a;
        ecd_diag diag = {0};
        emu_fail_launch(n);
        ecd_status status = draw(&r, &a, &diag);
        emu_fail_launch(0);
        emu_clear();
        expect_all_back();
        if (status == ECD_OK)
            break;
        assert_int_equal(status, ECD_RESOURCE);
        assert_non_null(strstr(diag.what, "backend cuda: "));
        assert_true(n < 20000);
    }
    print_message("%d kernels faulted, one a run\n", runs);
    assert_true(runs > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_budget, fresh),     cmocka_unit_test_setup(vae_staged, fresh),
        cmocka_unit_test_setup(decoded_wide, fresh),
        cmocka_unit_test_setup(several_steps, fresh),    cmocka_unit_test_setup(batch_positions, fresh),
        cmocka_unit_test_setup(published_groups, fresh), cmocka_unit_test_setup(memory_out, fresh),
        cmocka_unit_test_setup(kernel_fault, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
