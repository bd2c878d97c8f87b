// Algorithms are chosen once a shape and kept: within a process, from one to the next, and among several at once. Whatever a
// file of them says, no algorithm is taken that the library would not name.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/ecf8.h"
#include "kernels/cuda/cuda.h"
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"

static const char *const file = "test_cuda_choices.algorithms", *const lock = "test_cuda_choices.algorithms.lock";

enum { ROWS = 3, COLS = 16, CHANNELS = 24, SIDE = 6 };

static int fresh(void **state)
{
    (void)state;
    remove(file);
    remove(lock);
    unsetenv("ECD_CUDA_TUNE");
    ecd_fake_clear();
    return 0;
}

static ecd_backend *open_cuda(const char *algorithms)
{
    ecd_backend *be;
    ecd_diag diag = {0};
    const ecd_backend_options options = {
        .name = "cuda", .compute = ECD_COMPUTE_BF16, .threads = 1, .algorithms_file = algorithms};
    if (ecd_cuda_open_with(&options, &(ecd_cuda_libraries){"", ""}, &be, &diag))
        fail_msg("%s", diag.what);
    return be;
}

static void multiply(ecd_backend *be, ecd_dtype dtype, int64_t pictures)
{
    char *memory = be->ops->alloc(be, 1 << 14);
    const ecd_weight w = {.dtype = dtype, .data = memory, .rows = CHANNELS, .cols = COLS};
    const ecd_linear op = {.w = &w, .pictures = pictures, .rows = ROWS, .x = memory + 4096, .out = memory + 8192, .out_f32 = true};
    be->ops->linear(be, &op);
    be->ops->free(be, memory);
}

static void convolve(ecd_backend *be)
{
    char *memory = be->ops->alloc(be, 1 << 15);
    const ecd_conv_shape shape = {8, 8, 3, 1, 1, 1};
    const ecd_weight w = {.dtype = ECD_BF16, .data = memory, .rows = 8, .cols = 8 * 9};
    ecd_conv_weight *prepared = be->ops->conv_prepare(be, &shape, &w, NULL);
    const ecd_conv op = {.w = prepared, .height = SIDE, .width = SIDE, .x = memory + 8192, .out = memory + 16384};
    be->ops->conv(be, &op);
    be->ops->conv_free(be, prepared);
    be->ops->free(be, memory);
}

// A run of the program: what it asked of the libraries.
static ecd_fake_counts run(const char *algorithms)
{
    ecd_diag diag = {0};
    ecd_fake_clear();
    ecd_backend *be = open_cuda(algorithms);
    multiply(be, ECD_BF16, 1);
    multiply(be, ECD_E4M3, 2); // the same shape, whatever the weight is stored as
    convolve(be);
    convolve(be);
    if (ecd_backend_check(be, &diag) || ecd_fake_error())
        fail_msg("%s", ecd_fake_error() ? ecd_fake_error() : diag.what);
    ecd_backend_close(be);
    assert_int_equal(ecd_fake_counted().objects, 0);
    assert_int_equal(emu_counted().allocations, 0);
    return ecd_fake_counted();
}

static void test_kept(void **state)
{
    (void)state;
    ecd_fake_counts first = run(file), second = run(file);
    assert_int_equal(first.heuristics, 2);
    assert_int_equal(first.products, 3);
    assert_int_equal(first.algorithms[1], 3);
    assert_int_equal(second.heuristics, 0); // only checked
    assert_int_equal(second.checks, 1);
    assert_int_equal(second.algorithms[1], 3);
    assert_int_equal(run(NULL).heuristics, 2);
    assert_int_equal(run("no/such/folder/algorithms").heuristics, 2); // not kept, and no fault
}

static void test_tuned(void **state)
{
    (void)state;
    setenv("ECD_CUDA_TUNE", "1", 1);
    assert_int_equal(run(NULL).algorithms[2], 0); // nowhere to keep it
    unsetenv("ECD_CUDA_TUNE");
    assert_int_equal(run(file).algorithms[1], 3);
    setenv("ECD_CUDA_TUNE", "1", 1);
    ecd_fake_counts tuned = run(file);
    assert_int_equal(tuned.heuristics, 2);
    assert_true(tuned.algorithms[1] > 10 && tuned.algorithms[2] > 13 && tuned.convolutions > 22);
    ecd_fake_counts again = run(file);
    assert_true(again.heuristics == 0 && again.products == 3 && again.algorithms[2] == 3);
    unsetenv("ECD_CUDA_TUNE");
    assert_int_equal(run(file).algorithms[2], 3); // it stays
    ecd_backend *be;
    ecd_diag diag = {0};
    const ecd_backend_options options = {.name = "cuda", .threads = 1};
    setenv("ECD_CUDA_TUNE", "yes", 1);
    assert_int_equal(ecd_cuda_open_with(&options, &(ecd_cuda_libraries){"", ""}, &be, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "ECD_CUDA_TUNE is \"yes\""));
}

static char *read_all(size_t *size)
{
    enum { MOST = 1 << 16 };
    char *text = calloc(1, MOST);
    FILE *in = fopen(file, "r");
    assert_true(text && in);
    *size = fread(text, 1, MOST - 1, in);
    fclose(in);
    return text;
}

static void write_all(const char *text, size_t size)
{
    FILE *out = fopen(file, "w");
    assert_true(out && fwrite(text, 1, size, out) == size && fclose(out) == 0);
}

// A line's CRC made right again.
static void sign(char *line)
{
    char sum[9];
    const char *body = line + 9;
    snprintf(sum, sizeof sum, "%08x", ecf8_crc32c(0, body, strcspn(body, "\n")));
    memcpy(line, sum, 8);
}

// Words of an algorithm that the library does not take, that adds as it may not, or that does not run although its check
// says nothing, well signed: chosen anew.
static void test_forged(void **state)
{
    (void)state;
    static const char *const words[] = {"0000000000030ecd", "0000000000070ecd", "ffffffffffffffff", "0000000000000ecd"};
    size_t size;
    run(file);
    char *text = read_all(&size), *line = strstr(text, " cublaslt ");
    char *number = strstr(text, "0000000000010ecd"); // the fake's own: the first that is to be had
    assert_true(line && number);
    for (int i = 0; i < 4; i++) {
        memcpy(number, words[i], 16);
        sign(line - 8);
        write_all(text, size);
        ecd_fake_counts counts = run(file);
        assert_int_equal(counts.heuristics, 1);
        assert_int_equal(counts.algorithms[1], 3);
        assert_int_equal(counts.algorithms[0], i == 3);
        assert_int_equal(run(file).heuristics, 0); // and put right
    }
    free(text);
    text = read_all(&size);
    line = strstr(text, " cudnn ");
    for (int i = 0; i < 2; i++) { // no such algorithm; words that mean nothing
        char *end = strchr(line, '\n'), *first = end - 17 * ECD_CHOICE_DATA + 1, *at = i ? end - 1 : first + 15;
        char was = *at;
        *at = '5';
        sign(line - 8);
        write_all(text, size);
        assert_int_equal(run(file).heuristics, 1);
        *at = was;
    }
    free(text);
}

typedef struct chooser {
    uint64_t value;
    int calls;
} chooser;

static bool accept_all(void *user, const ecd_choice *choice)
{
    (void)user, (void)choice;
    return true;
}

static int choose_value(void *user, bool timed, ecd_choice *out)
{
    chooser *c = user;
    *out = (ecd_choice){.data = {c->value, ~c->value}, .timed = timed};
    c->calls++;
    return 0;
}

static uint64_t settle(ecd_choices *c, chooser *how, int64_t shape)
{
    ecd_choice out;
    const ecd_choice_key key = {.library = "test", .version = 1, .shape = {shape, -shape}};
    assert_int_equal(ecd_choices_settle(c, &key, &(ecd_choosing){accept_all, choose_value, how}, &out), 0);
    assert_true(out.data[1] == ~out.data[0]);
    return out.data[0];
}

// Each byte of a file changed, and the file cut there: a choice is either the one that was made or made anew.
static void test_damaged(void **state)
{
    (void)state;
    enum { SHAPES = 3 };
    size_t size;
    chooser one = {.value = 11};
    ecd_choices *c = ecd_choices_open(file, "some device", false);
    for (int i = 0; i < SHAPES; i++)
        settle(c, &one, i);
    ecd_choices_close(c);
    assert_int_equal(one.calls, SHAPES);
    char *text = read_all(&size);
    remove(lock);
    mkdir(lock, 0700); // nothing is written while there is no lock to be had
    for (size_t at = 0; at < 2 * size; at++) {
        char was = text[at / 2];
        text[at / 2] ^= 4;
        write_all(text, at % 2 ? at / 2 : size);
        chooser two = {.value = 22};
        c = ecd_choices_open(file, "some device", false);
        for (int i = 0; i < SHAPES; i++) {
            int calls = two.calls;
            uint64_t got = settle(c, &two, i);
            assert_true(two.calls > calls ? got == 22 : got == 11);
        }
        assert_true(two.calls > 0 || at == 2 * size - 1); // the last newline may be missing
        ecd_choices_close(c);
        text[at / 2] = was;
    }
    rmdir(lock);
    write_all(text, size);
    chooser other = {.value = 33};
    c = ecd_choices_open(file, "another device", false);
    assert_int_equal(settle(c, &other, 0), 33);
    ecd_choices_close(c);
    c = ecd_choices_open(file, "some device", false); // both are there
    assert_int_equal(settle(c, &other, 0), 11);
    ecd_choices_close(c);
    free(text);
}

// Processes that begin at once with nothing kept: all take what one of them chose.
static void test_together(void **state)
{
    (void)state;
    enum { PROCESSES = 4, SHAPES = 12 };
    uint64_t(*got)[SHAPES] = mmap(NULL, sizeof(uint64_t[PROCESSES][SHAPES]), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true((void *)got != MAP_FAILED);
    for (int p = 0; p < PROCESSES; p++) {
        if (fork())
            continue;
        chooser own = {.value = 100 + (uint64_t)p};
        ecd_choices *c = ecd_choices_open(file, "some device", false);
        for (int i = 0; c && i < SHAPES; i++) {
            got[p][i] = settle(c, &own, (i + 3 * p) % SHAPES);
            usleep(15000); // others' turn
        }
        ecd_choices_close(c);
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++)
        wait(NULL);
    bool met = false;
    for (int shape = 0; shape < SHAPES; shape++)
        for (int p = 0; p < PROCESSES; p++) {
            uint64_t mine = got[p][(shape + 3 * (PROCESSES - p)) % SHAPES], first = got[0][shape];
            assert_true(mine >= 100 && mine == first);
            met |= first != 100;
        }
    print_message("choices of %s process\n", met ? "more than one" : "one");
    munmap(got, sizeof(uint64_t[PROCESSES][SHAPES]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_kept, fresh),    cmocka_unit_test_setup(test_tuned, fresh),
        cmocka_unit_test_setup(test_forged, fresh),  cmocka_unit_test_setup(test_damaged, fresh),
        cmocka_unit_test_setup(test_together, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
