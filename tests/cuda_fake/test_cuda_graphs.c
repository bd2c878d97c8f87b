// Sequences of operations as graphs: the bytes of single launches, and what makes a graph, drops or refuses it. On the emulator,
// and on a device.
#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "tests/cuda_fake/device.h"

enum { ROWS = 4, WIDTH = 16, COUNT = ROWS * WIDTH, FLOATS = 8 * COUNT };

static int fresh(void **state)
{
    (void)state;
    unsetenv("ECD_CUDA_GRAPHS");
    ecd_fake_fail_call(0);
    ecd_fake_clear();
    emu_clear();
    return 0;
}

static ecd_backend *open_cuda(ecd_compute compute)
{
    ecd_backend *be = NULL;
    ecd_diag diag = {0};
    const ecd_backend_options options = {.name = "cuda", .compute = compute, .threads = 1};
    expect_ok(ecd_cuda_open_with(&options, &device_libraries, &be, &diag), &diag);
    return be;
}

// ---- operations

static float *new_floats(ecd_backend *be)
{
    static float host[FLOATS];
    for (int i = 0; i < FLOATS; i++)
        host[i] = (float)(i * 37 % 101) / 64 - 0.7f;
    float *there = be->ops->alloc(be, sizeof host);
    be->ops->upload(be, there, host, sizeof host);
    return there;
}

// An operation of each kind that a sequence notes; in f32. Each writes where the one before it read or wrote.
static void some_operations(ecd_backend *be, float *m, int64_t rows)
{
    const ecd_weight w = {.dtype = ECD_F32, .data = m, .rows = WIDTH, .cols = WIDTH};
    const ecd_norm norm = {.x = m + COUNT, .rows = rows, .cols = WIDTH, .eps = 1e-6f, .out = m + 2 * COUNT};
    const ecd_linear linear = {.w = &w, .pictures = 1, .rows = rows, .x = m + 2 * COUNT, .out = m + 3 * COUNT,
                               .epilogue = ECD_EPILOGUE_GELU_TANH};
    const ecd_rope rope = {.x = m + 3 * COUNT, .batch = 1, .tokens = rows, .heads = 2, .head_dim = WIDTH / 2,
                           .cosine = m + 4 * COUNT, .sine = m + 5 * COUNT};
    const ecd_attention attention = {.batch = 1, .heads = 2, .head_dim = WIDTH / 2, .q_tokens = rows, .kv_tokens = rows,
                                     .q = m + 3 * COUNT, .k = m + 2 * COUNT, .v = m + 3 * COUNT, .out = m + 6 * COUNT,
                                     .scale = 0.3f};
    be->ops->norm(be, &norm);
    be->ops->linear(be, &linear);
    be->ops->rope(be, &rope);
    be->ops->attention(be, &attention);
    be->ops->to_act(be, m + 6 * COUNT, rows * WIDTH, true, m + 7 * COUNT);
    be->ops->to_f32(be, m + 7 * COUNT, rows * WIDTH, m + 2 * COUNT);
    be->ops->copy(be, m + COUNT, m + 2 * COUNT, (size_t)(rows * WIDTH) * sizeof *m);
}

static void repeat(ecd_backend *be, float *m, int64_t rows, int times)
{
    for (int i = 0; i < times; i++) {
        ecd_sequence_begin(be);
        some_operations(be, m, rows);
        ecd_sequence_end(be);
    }
}

static void expect_counts(const ecd_backend *be, uint64_t single, uint64_t captured, uint64_t replayed)
{
    ecd_sequence_counts c = ecd_cuda_sequence_counted(be);
    assert_int_equal(c.single, single);
    assert_int_equal(c.captured, captured);
    assert_int_equal(c.replayed, replayed);
}

// What `times` rounds of the operations make, without sequences.
static void expect_rounds(ecd_backend *be, float *m, int times)
{
    float expected[FLOATS], got[FLOATS];
    float *other = new_floats(be);
    for (int i = 0; i < times; i++)
        some_operations(be, other, ROWS);
    be->ops->download(be, expected, other, sizeof expected);
    be->ops->download(be, got, m, sizeof got);
    assert_memory_equal(expected, got, sizeof got);
    be->ops->free(be, other);
}

static void test_repeated(void **state)
{
    (void)state;
    ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
    float *m = new_floats(be), *n = new_floats(be);
    uint64_t before = emu_counted().graph_launches;
    repeat(be, m, ROWS, 5);
    expect_counts(be, 1, 1, 4);
    assert_true(!emulated || emu_counted().graph_launches - before == 4);
    expect_rounds(be, m, 5);
    repeat(be, n, ROWS, 3); // other memory: another graph
    expect_counts(be, 2, 2, 6);
    expect_rounds(be, n, 3);
    repeat(be, m, ROWS, 1); // the first is still there
    expect_counts(be, 2, 2, 7);
    expect_rounds(be, m, 6);
    repeat(be, m, ROWS - 1, 1); // another shape
    expect_counts(be, 3, 2, 7);
    be->ops->free(be, m);
    be->ops->free(be, n);
    close_cuda(be);
}

static void test_off(void **state)
{
    (void)state;
    setenv("ECD_CUDA_GRAPHS", "0", 1);
    ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
    float *m = new_floats(be);
    repeat(be, m, ROWS, 3);
    expect_counts(be, 0, 0, 0);
    expect_rounds(be, m, 3);
    be->ops->free(be, m);
    close_cuda(be);
}

// A larger shape moves the scratch that graphs work in.
static void test_scratch_moves(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
    float *m = new_floats(be), *large = be->ops->alloc(be, MANY * WIDTH * sizeof *large);
    repeat(be, m, ROWS, 3);
    expect_counts(be, 1, 1, 2);
    const ecd_weight w = {.dtype = ECD_F32, .data = m, .rows = WIDTH, .cols = WIDTH};
    const ecd_linear linear = {.w = &w, .pictures = 1, .rows = MANY, .x = large, .out = large, .epilogue = ECD_EPILOGUE_SILU};
    be->ops->linear(be, &linear);
    repeat(be, m, ROWS, 2);
    expect_counts(be, 1, 2, 4);
    expect_rounds(be, m, 5);
    be->ops->free(be, m);
    be->ops->free(be, large);
    close_cuda(be);
}

// What is not noted comes in its order, and so does what follows it.
static void test_others_between(void **state)
{
    (void)state;
    ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
    float *m = new_floats(be), host[COUNT], got[COUNT];
    for (int i = 0; i < 3; i++) {
        ecd_sequence_begin(be);
        some_operations(be, m, ROWS);
        be->ops->download(be, host, m + COUNT, sizeof host);
        be->ops->upload(be, m + COUNT, host, sizeof host);
        some_operations(be, m, ROWS);
        ecd_sequence_end(be);
    }
    expect_rounds(be, m, 6);
    expect_counts(be, 3, 0, 0);
    ecd_sequence_begin(be); // never ended
    be->ops->copy(be, m, m + COUNT, sizeof host);
    expect_ok(ecd_backend_check(be, NULL), &(ecd_diag){0});
    be->ops->download(be, got, m, sizeof got);
    be->ops->download(be, host, m + COUNT, sizeof host);
    assert_memory_equal(host, got, sizeof got);
    be->ops->free(be, m);
    close_cuda(be);
}

#if defined(ECD_CUDA_EMULATED)
// A library that fails while it is captured, wherever: the operations are done singly, and no failure is told.
static void test_capture_fails(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (bool captured = false; !captured; n++) {
        ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
        float *m = new_floats(be);
        repeat(be, m, ROWS, 1);
        ecd_fake_fail_call(n);
        repeat(be, m, ROWS, 1);
        ecd_fake_fail_call(0);
        captured = ecd_cuda_sequence_counted(be).captured;
        expect_counts(be, captured ? 1 : 2, captured, captured);
        repeat(be, m, ROWS, 2);
        expect_counts(be, captured ? 1 : 4, captured, captured ? 3 : 0);
        expect_rounds(be, m, 4);
        be->ops->free(be, m);
        close_cuda(be);
    }
    assert_true(n > 1 + 1);
}

// A fault of the device within a graph is one of the backend.
static void test_fault(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
    float *m = new_floats(be);
    repeat(be, m, ROWS, 2);
    be->ops->free(be, m); // and used
    repeat(be, m, ROWS, 1);
    assert_int_equal(ecd_backend_check(be, &diag), ECD_RESOURCE);
    assert_non_null(strstr(diag.what, "backend cuda"));
    ecd_backend_close(be);
    emu_clear();
    assert_int_equal(emu_counted().objects, 0);
}

#endif

static void test_many(void **state)
{
    (void)state;
    enum { SEQUENCES = 1100, STEP = 4 };
    ecd_backend *be = open_cuda(ECD_COMPUTE_F32);
    char *m = (char *)new_floats(be);
    for (int i = 0; i < 3 * SEQUENCES; i++) {
        ecd_sequence_begin(be);
        be->ops->copy(be, m + i / 3, m + 2000, STEP);
        ecd_sequence_end(be);
    }
    expect_counts(be, SEQUENCES, SEQUENCES, 2 * SEQUENCES);
    assert_true(emu_counted().objects < SEQUENCES); // old ones are dropped
    be->ops->free(be, m);
    close_cuda(be);
}

// ---- models

typedef struct way {
    const char *model;
    ecd_compute compute;
    ecd_weights_mode mode;
    int buffers;
    int64_t count; // of pictures
} way;

enum { PICTURES = 2, PIXELS = 16 * 24, TEXT = 7, TEXT_WIDTH = 32, POOLED = 24, STEPS = 5 };

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)diag;
    assert_true(height * width <= PIXELS);
    memcpy((uint8_t *)user + index * PIXELS * 3, rgb, (size_t)(height * width * 3));
    return ECD_OK;
}

static ecd_sequence_counts draw(way w, uint8_t *rgb)
{
    char path[1024];
    float text[TEXT * TEXT_WIDTH], pooled[POOLED];
    ecd_diag diag = {0};
    bool flux = !strncmp(w.model, "flux", 4);
    ecd_backend *be = open_cuda(w.compute);
    ecd_pipeline *p = NULL;
    snprintf(path, sizeof path, "%s/models/%s", ECD_TEST_DATA, w.model);
    ecd_pipeline_options o = {.model = path, .backend = be, .max_pictures = PICTURES, .guidance = true,
                              .store = {.mode = w.mode, .buffers = w.buffers, .read_ahead = true}};
    if (flux) {
        o.height = 24;
        o.width = 16;
        o.text_tokens = TEXT;
    }
    expect_ok(ecd_pipeline_open(&o, &p, &diag), &diag);
    for (int i = 0; i < TEXT * TEXT_WIDTH; i++)
        text[i] = (float)(i * 29 % 64) / 32 - 1;
    memcpy(pooled, text, sizeof pooled);
    const ecd_picture_request pictures[PICTURES] = {{1, 3}, {2, 4}};
    const ecd_picture_text texts[PICTURES] = {{text, pooled}, {text, pooled}};
    ecd_draw request = {.pictures = pictures, .texts = flux ? texts : NULL, .count = w.count, .steps = STEPS, .guidance = 4,
                        .sink = keep, .user = rgb};
    expect_ok(ecd_pipeline_draw(p, &request, &diag), &diag);
    ecd_sequence_counts counts = ecd_cuda_sequence_counted(be);
    ecd_pipeline_close(p);
    close_cuda(be);
    return counts;
}

static void test_pictures(void **state)
{
    (void)state;
    static const way ways[] = {{"dit_a_fp8_tensor", ECD_COMPUTE_BF16, ECD_WEIGHTS_RAW, 0, 2},
                               {"dit_a_fp8_tensor", ECD_COMPUTE_BF16, ECD_WEIGHTS_ECF8, 2, 1},
                               {"flux_b", ECD_COMPUTE_BF16, ECD_WEIGHTS_ECF8, 2, 1}};
    static uint8_t single[PICTURES][PIXELS * 3], graphs[PICTURES][PIXELS * 3];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        setenv("ECD_CUDA_GRAPHS", "0", 1);
        memset(single, 0, sizeof single);
        memset(graphs, 0, sizeof graphs);
        draw(ways[i], single[0]);
        setenv("ECD_CUDA_GRAPHS", "1", 1);
        const emu_counts before = emu_counted();
        ecd_sequence_counts c = draw(ways[i], graphs[0]);
        uint64_t launches = emu_counted().graph_launches - before.graph_launches;
        uint64_t nodes = emu_counted().graph_nodes - before.graph_nodes;
        print_message("%s: %llu sequences singly, %llu graphs, launched %llu times for %.1f launches each\n", ways[i].model,
                      (unsigned long long)c.single, (unsigned long long)c.captured, (unsigned long long)c.replayed,
                      emulated ? (double)nodes / (double)launches : 0.0);
        assert_true(!emulated || (launches == c.replayed && nodes > 10 * launches));
        assert_memory_equal(single, graphs, sizeof single);
        assert_true(c.captured > 0 && c.captured == c.single && c.replayed > c.captured);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_repeated, fresh),       cmocka_unit_test_setup(test_off, fresh),
        cmocka_unit_test_setup(test_scratch_moves, fresh),  cmocka_unit_test_setup(test_others_between, fresh),
#if defined(ECD_CUDA_EMULATED)
        cmocka_unit_test_setup(test_capture_fails, fresh),  cmocka_unit_test_setup(test_fault, fresh),
#endif
        cmocka_unit_test_setup(test_many, fresh),           cmocka_unit_test_setup(test_pictures, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
