// The store on a device, in whatever order its queues go (lazy_device.h): the same weights under every budget and without one,
// within the memory that was planned, and without the host waiting; what is sent is counted; every want of memory is reported
// and leaves nothing behind.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/lazy_device.h"
#include "tests/unit/rates_file.h"
#include "tests/unit/store_model.h"
#include "weights/tree.h"

enum { STEPS = 4, OUTSIDE = 1000 };

static const char rates[] = "test_store_device_rates.json";

static ecd_store_options options_of(uint64_t budget)
{
    return (ecd_store_options){
        .budget_bytes = budget, .outside_bytes = OUTSIDE, .rows = 16, .read_ahead = true, .rates_file = rates};
}

// What the computing would read, copied in its order: each step's blocks.
typedef struct read_back {
    uint8_t fp8[BLOCKS][ROWS * COLS];
    uint16_t bf16[BLOCKS][ROWS * COLS16];
} read_back;

static ecd_status use(opened *o, int block, read_back *to, ecd_diag *diag)
{
    ecd_block got;
    ecd_status status = ecd_store_acquire(o->store, block, &got, diag);
    if (status)
        return status;
    o->be->ops->copy(o->be, to->fp8[block], got.weights[0].data, sizeof to->fp8[block]);
    o->be->ops->copy(o->be, to->bf16[block], got.weights[1].data, sizeof to->bf16[block]);
    ecd_store_release(o->store, block);
    return ECD_OK;
}

static bool same(const model *m, const read_back *got)
{
    return !memcmp(m->fp8, got->fp8, sizeof m->fp8) && !memcmp(m->bf16, got->bf16, sizeof m->bf16);
}

typedef struct result {
    ecd_store_report report;
    bool same;
    uint64_t peak, waits; // waits: of the host, in steps after the first two
} result;

// A few passes over all blocks, the host waiting at the end alone; `rest` after the first.
static result run(const model *m, ecd_backend *be, const char *folder, ecd_store_options options, bool rest)
{
    opened o;
    ecd_diag diag = {0};
    result r = {0};
    read_back *got = calloc(STEPS, sizeof *got);
    assert_int_equal(open_store_on(be, folder, options, false, &o, &diag), ECD_OK);
    uint64_t measured = lazy_device_counted(be).sent;
    for (int step = 0; step < STEPS; step++) {
        lazy_counts before = lazy_device_counted(be);
        for (int b = 0; b < BLOCKS; b++)
            assert_int_equal(use(&o, b, &got[step], &diag), ECD_OK);
        r.waits += step < 2 ? 0 : lazy_device_counted(be).waits - before.waits;
        if (rest && step == 0) {
            ecd_store_rest(o.store);
            be->ops->wait(be);
            assert_true(lazy_device_counted(be).used < 4 * BLOCKS * (ROWS + 64) * sizeof(float)); // scales and biases
        }
    }
    assert_int_equal(ecd_backend_check(be, &diag), ECD_OK);
    r.same = true;
    for (int step = 0; step < STEPS; step++)
        r.same = r.same && same(m, &got[step]);
    ecd_store_report_get(o.store, &r.report);
    r.peak = lazy_device_counted(be).peak;
    lazy_counts counted = lazy_device_counted(be);
    assert_int_equal(counted.sent - measured, r.report.pinned_bytes ? r.report.read_bytes : 0);
    ecd_store_close(o.store);
    ecd_checkpoint_close(o.cp);
    be->ops->wait(be);
    counted = lazy_device_counted(be);
    assert_int_equal(counted.used + counted.pieces + counted.pinned + counted.marks + counted.plans, 0);
    ecd_backend_close(be);
    free(got);
    return r;
}

static uint64_t least_of(const char *folder, ecd_store_options options)
{
    opened o;
    ecd_diag diag = {0};
    uint64_t least = 0;
    options.budget_bytes = 1;
    options.least_bytes = &least;
    assert_int_equal(open_store_on(lazy_device_open(LAZY_LATE, 1), folder, options, false, &o, &diag), ECD_RESOURCE);
    assert_non_null(strstr(diag.what, "a device memory budget of"));
    assert_non_null(strstr(diag.what, "the least is"));
    assert_int_equal(lazy_device_counted(o.be).pieces, 0); // nothing was loaded
    close_store(&o);
    return least;
}

// Of a device that decodes faster than it is sent to, and multiplies for about as long.
static void take_rates(const model *m)
{
    ecd_store_options options = options_of(0);
    options.budget_bytes = least_of(m->coded, options);
    assert_true(run(m, lazy_device_open(LAZY_LATE, 1), m->coded, options, false).report.rates.multiply > 0);
    set_rates(rates, 1e9, 1e8, 1e10);
}

// From the least to all, raw and coded, in each order; each kind of block must have come up.
static void every_budget(void **state)
{
    const model *m = *state;
    take_rates(m);
    for (int coded = 0; coded < 2; coded++) {
        const char *folder = coded ? m->coded : m->raw;
        int seen[ECD_BLOCK_KINDS] = {0}, lent = 0;
        uint64_t all = run(m, lazy_device_open(LAZY_LATE, 1), folder, options_of(1 << 30), false).report.planned_bytes;
        uint64_t least = least_of(folder, options_of(0));
        assert_true(least < all);
        for (int i = 0; i <= 20; i++) {
            ecd_store_options options = options_of(least + (all - least) * (uint64_t)i / 20);
            options.read_ahead = i % 4 != 3;
            options.mode = coded ? ECD_WEIGHTS_AUTO : ECD_WEIGHTS_RAW;
            result r = run(m, lazy_device_open((lazy_order)(i % LAZY_ORDERS), (unsigned)i), folder, options, i % 5 == 4);
            const ecd_plan *plan = &r.report.plan;
            assert_true(r.same && r.report.device && r.report.planned);
            assert_int_equal(r.waits, 0);
            assert_true(r.peak + OUTSIDE <= r.report.planned_bytes && r.report.planned_bytes <= options.budget_bytes);
            assert_true((r.report.read_bytes > 0) == (plan->counts[ECD_BLOCK_STREAMED] > 0));
            assert_true(r.report.read_bytes <= (STEPS + 1) * plan->read_bytes);
            for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
                seen[kind] += plan->counts[kind];
            lent += (int)r.report.streamed_raw;
        }
        assert_true(seen[ECD_BLOCK_READY] && seen[ECD_BLOCK_STREAMED] && (seen[ECD_BLOCK_DECODED] > 0) == coded);
        assert_int_equal(lent > 0, !coded);
    }
}

// Over the bus goes what is coded, not what it decodes to.
static void sends_less_coded(void **state)
{
    const model *m = *state;
    ecd_store_options options = options_of(0);
    uint64_t sent[2]; // a block
    for (int coded = 0; coded < 2; coded++) {
        const char *folder = coded ? m->coded : m->raw;
        options.budget_bytes = least_of(folder, options);
        result r = run(m, lazy_device_open(LAZY_RANDOM, 3), folder, options, false);
        const ecd_plan *plan = &r.report.plan;
        assert_true(plan->counts[ECD_BLOCK_STREAMED] >= BLOCKS - 1);
        sent[coded] = plan->read_bytes / (uint64_t)plan->counts[ECD_BLOCK_STREAMED];
        assert_in_range(r.report.read_bytes, STEPS * plan->read_bytes, (STEPS + 1) * plan->read_bytes);
    }
    print_message("%llu bytes a block raw, %llu coded\n", (unsigned long long)sent[0], (unsigned long long)sent[1]);
    assert_true(sent[1] < sent[0] * 9 / 10);
}

// Without a budget all is held, as ECF8 or raw; blocks that are used once come one by one, from their files.
static void without_budget(void **state)
{
    const model *m = *state;
    for (int variant = 0; variant < 8; variant++) {
        bool coded = variant & 1, once = variant & 2;
        ecd_store_options options = options_of(0);
        options.once = once;
        options.buffers = variant & 4 ? 1 : 3;
        for (int order = 0; order < LAZY_ORDERS; order++) {
            result r = run(m, lazy_device_open((lazy_order)order, 9), coded ? m->coded : m->raw, options, variant == 1);
            assert_true(r.same && !r.report.planned && !r.report.pinned_bytes);
            assert_true(once == (r.report.plan.counts[ECD_BLOCK_STREAMED] == BLOCKS));
            assert_true(once == (r.report.read_bytes > 0));
            assert_true(once || r.waits == 0);
        }
    }
}

// The test would see it if the store left out a mark.
static void notices_missing_marks(void **state)
{
    const model *m = *state;
    int wrong = 0;
    for (int coded = 0; coded < 2; coded++)
        for (int order = 0; order < LAZY_ORDERS; order++) {
            const char *folder = coded ? m->coded : m->raw;
            ecd_store_options options = options_of(0);
            options.budget_bytes = least_of(folder, options);
            ecd_backend *be = lazy_device_open((lazy_order)order, 5);
            opened o;
            ecd_diag diag = {0};
            read_back *got = calloc(2, sizeof *got);
            options.check_crc = false;
            assert_int_equal(open_store_on(be, folder, options, false, &o, &diag), ECD_OK);
            for (int b = 0; b < BLOCKS; b++)
                assert_int_equal(use(&o, b, &got[0], &diag), ECD_OK);
            be->ops->wait(be);
            assert_true(same(m, &got[0]));
            lazy_device_ignore_marks(be, true);
            for (int b = 0; b < BLOCKS; b++)
                assert_int_equal(use(&o, b, &got[1], &diag), ECD_OK);
            be->ops->wait(be);
            wrong += !same(m, &got[1]);
            lazy_device_ignore_marks(be, false);
            close_store(&o);
            free(got);
        }
    print_message("%d of 6 orders gave wrong weights without marks\n", wrong);
    assert_true(wrong >= 4);
}

// Whatever allocation fails, opening or using the store says so and leaves nothing.
static void memory_out(void **state)
{
    const model *m = *state;
    uint64_t most = 0;
    for (int variant = 0; variant < 3; variant++) {
        ecd_store_options options = options_of(0);
        uint64_t least = least_of(m->coded, options), n = 1;
        options.budget_bytes = variant == 2 ? 0 : variant ? least : least + 3 * ROWS * COLS;
        for (;; n++) {
            opened o;
            ecd_diag diag = {0};
            ecd_backend *be = lazy_device_open(LAZY_LATE, 1);
            read_back *got = calloc(1, sizeof *got);
            lazy_device_fail(be, n);
            ecd_status status = open_store_on(be, m->coded, options, false, &o, &diag);
            for (int b = 0; !status && b < BLOCKS; b++)
                status = use(&o, b, got, &diag);
            ecd_store_close(o.store);
            be->ops->wait(be);
            lazy_counts c = lazy_device_counted(be);
            assert_int_equal(c.used + c.pieces + c.pinned + c.marks + c.plans, 0);
            ecd_checkpoint_close(o.cp);
            ecd_backend_close(be);
            free(got);
            if (!status)
                break;
            assert_int_equal(status, ECD_RESOURCE);
            assert_non_null(strstr(diag.what, "memory"));
        }
        most = n > most ? n : most;
    }
    print_message("up to %llu allocations failed, one a run\n", (unsigned long long)most - 1);
    assert_true(most > 12);
}

// A container whose tiles are damaged is named by the first use, wherever its block lies.
static void damage(void **state)
{
    const model *m = *state;
    const char *folder = "test_store_device_damaged";
    char command[256], path[128];
    ecd_folder_remove(folder);
    snprintf(command, sizeof command, "cp -r %s %s", m->coded, folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, -40, SEEK_END); // in the last tensor's words or tables
    fputs("damaged", file);
    assert_int_equal(fclose(file), 0);
    uint64_t least = least_of(folder, options_of(0));
    const uint64_t budgets[] = {0, least, 1 << 30};
    for (int i = 0; i < 3; i++) {
        opened o;
        ecd_diag diag = {0};
        read_back *got = calloc(1, sizeof *got);
        ecd_status status = open_store_on(lazy_device_open(LAZY_EARLY, 1), folder, options_of(budgets[i]), false, &o, &diag);
        for (int b = 0; !status && b < BLOCKS; b++)
            status = use(&o, b, got, &diag);
        if (o.be->ops->wait)
            o.be->ops->wait(o.be);
        assert_int_equal(status, ECD_DATA);
        assert_true(diag.tensor[0] && diag.has_offset);
        close_store(&o);
        free(got);
    }
    ecd_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_budget),          cmocka_unit_test(sends_less_coded), cmocka_unit_test(without_budget),
        cmocka_unit_test(notices_missing_marks), cmocka_unit_test(memory_out),       cmocka_unit_test(damage),
    };
    int failed = cmocka_run_group_tests(tests, set_up_model, tear_down_model);
    unlink(rates);
    return failed;
}
