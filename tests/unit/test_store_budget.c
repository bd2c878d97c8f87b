// The store under budgets from the least to all: the same weights, whatever is kept, decoded or read from disk; faults
// of files while they are read; the file of rates.
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store_model.h"
#include "weights/tree.h"

// The disk fails for whoever reads weights, after so many readings; -1 never. Link with --wrap=pread.
static atomic_int readings_left = -1;
ssize_t __real_pread(int fd, void *memory, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *memory, size_t size, off_t offset);

ssize_t __wrap_pread(int fd, void *memory, size_t size, off_t offset)
{
    int left = atomic_load(&readings_left);
    if (left > 0)
        atomic_compare_exchange_strong(&readings_left, &left, left - 1);
    if (left == 0) {
        errno = EIO;
        return -1;
    }
    return __real_pread(fd, memory, size, offset);
}

static void disturb(void)
{
    static __thread unsigned seed = 17;
    int chance = rand_r(&seed) % 8;
    if (chance == 0)
        usleep((useconds_t)(rand_r(&seed) % 400));
    else if (chance == 1)
        usleep(0);
}

static ecd_store_options options_of(uint64_t budget)
{
    return (ecd_store_options){.budget_bytes = budget,
                               .outside_bytes = 1000,
                               .rows = 16,
                               .read_ahead = true,
                               .rates_file = "test_store_budget_rates.json", // measured once, for speed
                               .disturb = disturb};
}

static ecd_store_report report_resident(const char *folder, ecd_store_options options, bool resident)
{
    opened o;
    ecd_diag diag = {0};
    ecd_store_report report = {0};
    assert_int_equal(open_store(folder, options, resident, &o, &diag), ECD_OK);
    ecd_store_report_get(o.store, &report);
    close_store(&o);
    return report;
}

static ecd_store_report report_of(const char *folder, ecd_store_options options)
{
    return report_resident(folder, options, false);
}

// The least budget, out of the message that refuses a smaller one.
static uint64_t least_resident(const char *folder, ecd_store_options options, bool resident)
{
    opened o;
    ecd_diag diag = {0};
    double mebibytes = 0;
    options.budget_bytes = 1;
    assert_int_equal(open_store(folder, options, resident, &o, &diag), ECD_RESOURCE);
    const char *at = strstr(diag.what, "the least is ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "the least is %lfM", &mebibytes), 1);
    close_store(&o);
    return (uint64_t)(mebibytes * 0x1p20);
}

static uint64_t least_of(const char *folder, ecd_store_options options)
{
    return least_resident(folder, options, false);
}

static ecd_store_report run(const model *m, const char *folder, ecd_store_options options, bool resident)
{
    opened o;
    ecd_diag diag = {0};
    ecd_store_report report;
    assert_int_equal(open_store(folder, options, resident, &o, &diag), ECD_OK);
    for (int step = 0; step < 4 * BLOCKS; step++) {
        ecd_block block;
        if (step == 2 * BLOCKS + 1)
            ecd_store_rest(o.store);
        assert_int_equal(ecd_store_acquire(o.store, step % BLOCKS, &block, &diag), ECD_OK);
        disturb();
        check_block(m, &o, step % BLOCKS, &block);
        ecd_store_release(o.store, step % BLOCKS);
    }
    ecd_store_report_get(o.store, &report);
    close_store(&o);
    assert_true(report.planned && report.planned_bytes <= options.budget_bytes);
    assert_true((report.read_bytes > 0) == (report.plan.counts[ECD_BLOCK_STREAMED] > 0));
    return report;
}

// Everything between what just works and what holds all; each kind of block must have come up.
static void every_budget(void **state)
{
    const model *m = *state;
    for (int variant = 0; variant < 4; variant++) {
        bool coded = variant & 1, resident = variant & 2;
        const char *path = coded ? m->coded : m->raw;
        int seen[ECD_BLOCK_KINDS] = {0};
        uint64_t all = report_resident(path, options_of(1 << 30), resident).planned_bytes;
        uint64_t least = least_resident(path, options_of(0), resident);
        for (int i = 0; i <= 12; i++) {
            ecd_store_options options = options_of(least < all ? least + (all - least) * (uint64_t)i / 12 : all);
            options.read_ahead = i % 4 != 3;
            options.mode = (ecd_weights_mode)(i % 2); // AUTO and ECF8
            ecd_store_report report = run(m, path, options, resident);
            for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
                seen[kind] += report.plan.counts[kind];
            if (i == 12)
                assert_int_equal(report.plan.counts[ECD_BLOCK_READY], resident ? BLOCKS - 1 : BLOCKS);
        }
        assert_true(seen[ECD_BLOCK_READY] && seen[ECD_BLOCK_STREAMED]);
        if (!coded)
            assert_int_equal(seen[ECD_BLOCK_DECODED], 0); // nothing is encoded under a budget
    }
}

// With all expanded each block is decoded once, and its ECF8 is not held any more.
static void decodes_once(void **state)
{
    const model *m = *state;
    ecd_store_options options = options_of(1 << 30);
    opened o;
    ecd_diag diag = {0};
    ecd_block block;
    ecd_store_report first, second;
    assert_int_equal(open_store(m->coded, options, false, &o, &diag), ECD_OK);
    for (int b = 0; b < BLOCKS; b++) {
        assert_int_equal(ecd_store_acquire(o.store, b, &block, &diag), ECD_OK);
        ecd_store_release(o.store, b);
    }
    ecd_store_report_get(o.store, &first);
    for (int b = 0; b < 3 * BLOCKS; b++) {
        assert_int_equal(ecd_store_acquire(o.store, b % BLOCKS, &block, &diag), ECD_OK);
        ecd_store_release(o.store, b % BLOCKS);
    }
    ecd_store_report_get(o.store, &second);
    assert_true(first.decode_ns > 0);
    assert_int_equal(first.decode_ns, second.decode_ns);
    assert_int_equal(second.weights_bytes, second.raw_bytes);
    close_store(&o);
}

// Raw weights of a compressed folder are in no file: all stay, or the message says what helps.
static void raw_of_coded(void **state)
{
    const model *m = *state;
    ecd_store_options options = options_of(1 << 30);
    options.mode = ECD_WEIGHTS_RAW;
    uint64_t all = report_of(m->coded, options).planned_bytes;
    options.budget_bytes = all;
    ecd_store_report report = run(m, m->coded, options, false);
    assert_int_equal(report.plan.counts[ECD_BLOCK_READY], BLOCKS);
    opened o;
    ecd_diag diag = {0};
    options.budget_bytes = all - 1;
    assert_int_equal(open_store(m->coded, options, false, &o, &diag), ECD_RESOURCE);
    assert_non_null(strstr(diag.what, "compressed only"));
    close_store(&o);
}

// A VAE that comes in the weights' place: counted beside them only where both fit.
static void aside(void **state)
{
    const model *m = *state;
    ecd_store_options options = options_of(1 << 30);
    uint64_t all = report_of(m->coded, options).planned_bytes;
    options.aside_bytes = all;
    ecd_store_report report = report_of(m->coded, options);
    assert_true(report.together);
    assert_int_equal(report.planned_bytes, all + all);
    options.budget_bytes = report.planned_bytes - 1;
    report = report_of(m->coded, options);
    assert_false(report.together);
    assert_int_equal(report.plan.counts[ECD_BLOCK_READY], BLOCKS);
    assert_true(report.planned_bytes < all + all / 2 + (1 << 19));
}

// With the least budget there is one slot: a second block cannot be had while the first is held.
static void too_many_held(void **state)
{
    const model *m = *state;
    opened o;
    ecd_diag diag = {0};
    ecd_block block;
    for (int coded = 0; coded < 2; coded++) {
        ecd_store_options options = options_of(0);
        options.budget_bytes = least_of(coded ? m->coded : m->raw, options);
        assert_int_equal(open_store(coded ? m->coded : m->raw, options, false, &o, &diag), ECD_OK);
        assert_int_equal(ecd_store_acquire(o.store, 0, &block, &diag), ECD_OK);
        assert_int_equal(ecd_store_acquire(o.store, 1, &block, &diag), ECD_USAGE);
        assert_int_equal(ecd_store_acquire(o.store, BLOCKS, &block, &diag), ECD_USAGE);
        ecd_store_release(o.store, 0);
        assert_int_equal(ecd_store_acquire(o.store, 1, &block, &diag), ECD_OK);
        check_block(m, &o, 1, &block);
        close_store(&o);
    }
}

static void copy_folder(const char *from, const char *to)
{
    char command[256];
    snprintf(command, sizeof command, "cp -r %s %s", from, to);
    assert_int_equal(system(command), 0);
}

// The least budget to the byte (the message rounds up): nothing is then lent from a mapping, which would raise SIGBUS.
static uint64_t tightest_of(const char *folder, ecd_store_options options)
{
    uint64_t enough = least_of(folder, options), small = 1;
    while (enough - small > 1) {
        opened o;
        options.budget_bytes = small + (enough - small) / 2;
        ecd_status status = open_store(folder, options, false, &o, NULL);
        close_store(&o);
        if (status)
            small = options.budget_bytes;
        else
            enough = options.budget_bytes;
    }
    return enough;
}

// Streams a copy of the folder, with its file spoilt by `spoil` after opening, until a fault comes.
static ecd_status stream_spoilt(const char *folder, void (*spoil)(const char *path), bool ahead, ecd_diag *diag)
{
    opened o;
    char path[192];
    ecd_store_options options = options_of(0);
    options.read_ahead = ahead;
    ecd_folder_remove("test_store_spoilt");
    copy_folder(folder, "test_store_spoilt");
    options.budget_bytes = tightest_of("test_store_spoilt", options);
    assert_int_equal(open_store("test_store_spoilt", options, false, &o, diag), ECD_OK);
    snprintf(path, sizeof path, "test_store_spoilt/diffusion_pytorch_model.safetensors");
    spoil(path);
    ecd_status status = ECD_OK;
    for (int step = 0; step < 4 * BLOCKS && !status; step++) {
        ecd_block block;
        status = ecd_store_acquire(o.store, step % BLOCKS, &block, diag);
        if (!status)
            ecd_store_release(o.store, step % BLOCKS);
    }
    close_store(&o);
    ecd_folder_remove("test_store_spoilt");
    return status;
}

static void cut(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size / 8), 0);
}

static void scribble(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    FILE *file = fopen(path, "r+");
    fseek(file, 8192 + 128, SEEK_SET);
    for (long i = 8192; i < info.st_size - 128; i++)
        fputc(rand(), file);
    fclose(file);
}

static void spoilt_files(void **state)
{
    const model *m = *state;
    for (int ahead = 0; ahead < 2; ahead++) {
        ecd_diag diag = {0};
        for (int folder = 0; folder < 2; folder++) {
            assert_int_equal(stream_spoilt(folder ? m->coded : m->raw, cut, ahead, &diag), ECD_DATA);
            assert_non_null(strstr(diag.what, "has shrunk"));
            assert_non_null(strstr(diag.file, "diffusion_pytorch_model.safetensors"));
            assert_true(diag.has_offset && diag.tensor[0]);
        }
        assert_int_equal(stream_spoilt(m->coded, scribble, ahead, &diag), ECD_DATA); // containers are checked each time
        assert_true(diag.has_offset && diag.tensor[0]);
    }
}

static void fail_disk(const char *path)
{
    (void)path;
    atomic_store(&readings_left, 3);
}

// A disk that fails while blocks are read gives its own status, with the file and the place in it.
static void failing_disk(void **state)
{
    const model *m = *state;
    for (int variant = 0; variant < 4; variant++) {
        ecd_diag diag = {0};
        ecd_status status = stream_spoilt(variant & 1 ? m->coded : m->raw, fail_disk, variant & 2, &diag);
        atomic_store(&readings_left, -1);
        assert_int_equal(status, ECD_RESOURCE);
        assert_non_null(strstr(diag.what, "cannot read: Input/output error"));
        assert_non_null(strstr(diag.file, "diffusion_pytorch_model.safetensors"));
        assert_true(diag.has_offset && diag.tensor[0]);
    }
}

// A file that is gone or has another size by the time of opening is refused then.
static void changed_before_opening(void **state)
{
    const model *m = *state;
    opened o = {0};
    ecd_diag diag = {0};
    const char *path = "test_store_changed/diffusion_pytorch_model.safetensors";
    ecd_folder_remove("test_store_changed");
    copy_folder(m->raw, "test_store_changed");
    ecd_store_options options = options_of(0);
    options.budget_bytes = least_of("test_store_changed", options);
    ecd_tensor_spec spec = {.name = "a.weight", .kind = ECD_SPEC_MATRIX, .dims = 2, .shape = {ROWS, COLS}};
    ecd_block_spec blocks[2] = {{.prefix = "blocks.0.", .tensors = &spec, .count = 1},
                                {.prefix = "blocks.1.", .tensors = &spec, .count = 1}};
    assert_int_equal(ecd_backend_open(&(ecd_backend_options){.name = "ref", .threads = 1}, &o.be, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_open("test_store_changed", &o.cp, &diag), ECD_OK);
    assert_int_equal(unlink(path), 0);
    options.budget_bytes = 1000 + 2 * 65536 + 40000; // holds one of the two
    options.rates_file = NULL;
    assert_int_equal(ecd_store_open(o.cp, o.be, blocks, 2, &options, &o.store, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.file, path));
    close_store(&o);
    ecd_folder_remove("test_store_changed");
}

static void write_text(const char *path, const char *text)
{
    ecd_diag diag = {0};
    assert_int_equal(ecd_file_write(path, text, strlen(text), &diag), ECD_OK);
}

// Whatever the file of rates holds, the plan's rates make sense; what was measured is found again.
static void file_of_rates(void **state)
{
    static const char *const hostile[] = {
        "", "{", "[1]", "{\"a\": 1}", "{\"x\": {\"decode\": 1e400, \"read\": -1, \"multiply\": \"no\", \"when\": 1}}",
    };
    const model *m = *state;
    const char *path = "test_store_rates.json";
    ecd_store_options options = options_of(0);
    options.budget_bytes = least_of(m->coded, options) + 2048;
    options.rates_file = path;
    ecd_store_report first = report_of(m->coded, options);
    assert_true(first.rates.decode > 1e3 && first.rates.read > 1e3 && first.rates.multiply > 1e3);
    ecd_store_report second = report_of(m->coded, options);
    assert_true(fabs(second.rates.decode - first.rates.decode) < 1 &&
                second.rates.multiply / first.rates.multiply > 0.999999 &&
                second.rates.multiply / first.rates.multiply < 1.000001); // but for what decimals lose

    char *text, *poisoned;
    size_t size;
    ecd_diag diag = {0};
    assert_int_equal(ecd_file_read_text(path, 1 << 16, &text, &size, &diag), ECD_OK);
    char *at = strstr(text, "\"decode\":");
    assert_non_null(at);
    poisoned = calloc(1, size + 64);
    memcpy(poisoned, text, (size_t)(at - text));
    strcat(poisoned, "\"decode\": 0, \"was\":");
    strcat(poisoned, at + strlen("\"decode\":"));
    write_text(path, poisoned);
    second = report_of(m->coded, options);
    assert_true(second.rates.decode > 1e3); // measured anew
    free(poisoned);
    free(text);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        write_text(path, hostile[i]);
        second = report_of(m->coded, options);
        assert_true(second.rates.decode > 1e3 && second.rates.read > 1e3 && second.rates.multiply > 1e3);
    }
    unlink(path);
    options.rates_file = "no/such/folder/rates.json";
    report_of(m->coded, options);
}

// A quarter of the rows meets each block's second matrix; its bias counts as a column.
static void products_of_a_pass(void **state)
{
    const model *m = *state;
    const ecd_store_options options = options_of(1 << 30);
    const double expected = (double)options.rows * BLOCKS * (ROWS * COLS + ROWS * COLS16 * 0.25 + ROWS);
    assert_true(report_of(m->coded, options).plan.products == expected);
    assert_true(report_of(m->raw, options).plan.products == expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_budget),           cmocka_unit_test(decodes_once),
        cmocka_unit_test(raw_of_coded),           cmocka_unit_test(aside),
        cmocka_unit_test(too_many_held),          cmocka_unit_test(products_of_a_pass),
        cmocka_unit_test(spoilt_files),           cmocka_unit_test(failing_disk),
        cmocka_unit_test(changed_before_opening), cmocka_unit_test(file_of_rates),
    };
    return cmocka_run_group_tests(tests, set_up_model, tear_down_model);
}
