// Compute type fp8, on the emulator and on a device: what is multiplied in FP8 and what is not, how activations are quantised, that a picture's
// bits stay its own, how far pictures move, and who refuses it.
#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "tests/cuda_fake/device.h"
#include "weights/compress.h"

enum { ROWS = 5, COLS = 48, CHANNELS = 32 };

static ecd_status try_open(const char *name, ecd_compute compute, ecd_backend **be, ecd_diag *diag)
{
    const ecd_backend_options options = {.name = name, .compute = compute, .threads = 1};
    return strcmp(name, "cuda") ? ecd_backend_open(&options, be, diag)
                                : ecd_cuda_open_with(&options, &device_libraries, be, diag);
}

static ecd_backend *open_backend(const char *name, ecd_compute compute)
{
    ecd_backend *be = NULL;
    ecd_diag diag = {0};
    ecd_fake_clear();
    expect_ok(try_open(name, compute, &be, &diag), &diag);
    return be;
}

#if defined(ECD_CUDA_EMULATED)
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
        ecd_status status;
        int major, minor;
    } cases[] = {{"ref", "not in fp8", ECD_USAGE, 9, 0},
                 {"cpu", "does not compute in fp8", ECD_USAGE, 9, 0},
                 {"cuda", "compute capability 8.6, fp8 takes 8.9 or more", ECD_RESOURCE, 8, 6},
                 {"cuda", NULL, ECD_OK, 8, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ecd_backend *be = NULL;
        ecd_diag diag = {0};
        emu_set_capability(cases[i].major, cases[i].minor);
        assert_int_equal(try_open(cases[i].name, ECD_COMPUTE_FP8, &be, &diag), cases[i].status);
        assert_true(!cases[i].says || strstr(diag.what, cases[i].says));
        ecd_backend_close(be);
    }
    emu_set_capability(9, 0);
    ecd_backend *be = open_backend("cuda", ECD_COMPUTE_FP8);
    assert_int_equal(be->compute, ECD_COMPUTE_FP8);
    assert_int_equal(be->act_bytes, 2);
    assert_non_null(strstr(be->detail, ", fp8"));
    close_cuda(be);
    be = open_backend("cuda", ECD_COMPUTE_AUTO);
    assert_int_equal(be->compute, ECD_COMPUTE_BF16); // never by itself
    close_cuda(be);
}

#endif

// ---- quantising

static uint32_t next(uint32_t *random)
{
    return *random = *random * 1664525u + 1013904223u;
}

static float number(uint32_t *random)
{
    next(random);
    float magnitude = ldexpf((float)(*random >> 8 & 0xffff) / 65536, (int)(*random >> 27) - 20);
    return *random & 64 ? -magnitude : magnitude;
}

static void quantize(ecd_backend *be, const uint16_t *x, int64_t rows, int64_t cols, int64_t stride, uint8_t *out,
                     float *scale)
{
    size_t bytes = (size_t)(rows * stride) * sizeof *x, room = (size_t)(rows * cols);
    char *there = be->ops->alloc(be, bytes), *to = be->ops->alloc(be, room);
    float *words = be->ops->alloc(be, 2 * sizeof *words);
    be->ops->upload(be, there, x, bytes);
    assert_null(ecd_cuda_launch_quantize(ecd_cuda_of(be)->stream, there, rows, cols, stride, to, words,
                                         (uint32_t *)(void *)(words + 1)));
    be->ops->download(be, out, to, room);
    be->ops->download(be, scale, words, sizeof *scale);
    be->ops->free(be, there);
    be->ops->free(be, to);
    be->ops->free(be, words);
}

static void test_quantised(void **state)
{
    (void)state;
    enum { MANY = 300, WIDE = 64, MOST = MANY * (WIDE + 3) };
    static uint16_t x[MOST];
    static uint8_t out[MOST];
    uint32_t random = 1;
    ecd_backend *be = open_backend("cuda", ECD_COMPUTE_FP8);
    for (int i = 0; i < 6; i++) {
        int64_t rows = i % 2 ? MANY : 1, cols = i < 3 ? WIDE : 16, stride = cols + (i == 2 || i == 5 ? 3 : 0);
        float largest = 0, scale;
        for (int64_t k = 0; k < rows * stride; k++)
            x[k] = k % stride < cols ? ecd_to_bf16(number(&random)) : 0x7fc0; // between rows, not to be looked at
        for (int64_t k = 0; k < rows * stride; k++)
            if (k % stride < cols && fabsf(ecd_from_bf16(x[k])) > largest)
                largest = fabsf(ecd_from_bf16(x[k]));
        quantize(be, x, rows, cols, stride, out, &scale);
        assert_true(scale == largest / 448);
        for (int64_t k = 0; k < rows * cols; k++)
            assert_int_equal(out[k], ecd_to_e4m3(ecd_from_bf16(x[k / cols * stride + k % cols]) / scale));
    }
    float scale;
    memset(x, 0, sizeof x);
    quantize(be, x, 2, 16, 16, out, &scale); // nothing but zeros
    assert_true(scale > 0 && out[5] == 0);
    static const uint16_t odd[] = {0x7f80, 0xff80, 0x7fc1}; // infinities, NaN: the product is NaN
    for (int i = 0; i < 3; i++) {
        x[20] = odd[i];
        quantize(be, x, 2, 16, 16, out, &scale);
        assert_true(!isfinite(scale) && out[20] % 128 == 127);
    }
    close_cuda(be);
}

// ---- products

typedef struct product {
    ecd_weight w;
    float *scales, *bias;
    uint8_t *data;
    uint16_t x[2 * ROWS * COLS];
} product;

static void *there(ecd_backend *be, const void *from, size_t bytes)
{
    void *to = be->ops->alloc(be, bytes);
    be->ops->upload(be, to, from, bytes);
    return to;
}

// x w^T + bias for two pictures; with `alone` one after the other.
static void multiply(ecd_backend *be, const product *p, bool alone, float *out)
{
    size_t bytes = 2 * ROWS * CHANNELS * sizeof *out, elements = (size_t)(p->w.rows * p->w.cols);
    ecd_weight w = p->w;
    void *data = there(be, p->data, elements * ecd_dtype_size(w.dtype)), *x = there(be, p->x, sizeof p->x);
    float *scales = there(be, p->scales, CHANNELS * sizeof *scales), *bias = there(be, p->bias, CHANNELS * sizeof *bias);
    float *to = be->ops->alloc(be, bytes);
    w.data = data;
    w.scale = w.scale_kind ? scales : NULL;
    ecd_linear op = {.w = &w, .bias = bias, .pictures = alone ? 1 : 2, .rows = ROWS, .x = x, .out = to, .out_f32 = true};
    for (int i = 0; i < (alone ? 2 : 1); i++) {
        op.x = (uint16_t *)x + i * ROWS * w.cols;
        op.out = to + i * ROWS * w.rows;
        be->ops->linear(be, &op);
    }
    be->ops->download(be, out, to, (size_t)(2 * ROWS * w.rows) * sizeof *out);
    void *memory[] = {data, x, scales, bias, to};
    for (int i = 0; i < 5; i++)
        be->ops->free(be, memory[i]);
}

// The weights that are multiplied in FP8, and near enough; and those that are not.
static void test_products(void **state)
{
    (void)state;
    static const struct {
        ecd_dtype dtype;
        ecd_scale_kind kind;
        int64_t rows, cols;
        bool in_fp8;
    } cases[] = {{ECD_E4M3, ECD_SCALE_NONE, CHANNELS, COLS, true},  {ECD_E4M3, ECD_SCALE_TENSOR, CHANNELS, COLS, true},
                 {ECD_E4M3, ECD_SCALE_ROW, CHANNELS, COLS, true},   {ECD_E4M3, ECD_SCALE_BLOCK, CHANNELS, COLS, false},
                 {ECD_E5M2, ECD_SCALE_TENSOR, CHANNELS, COLS, false}, {ECD_E4M3, ECD_SCALE_NONE, CHANNELS, COLS - 8, false},
                 {ECD_E4M3, ECD_SCALE_NONE, CHANNELS - 4, COLS, false}};
    uint8_t data[CHANNELS * COLS];
    float scales[CHANNELS], bias[CHANNELS], got[2 * ROWS * CHANNELS], again[2 * ROWS * CHANNELS];
    uint32_t random = 3;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        product p = {.w = {.dtype = cases[i].dtype, .rows = cases[i].rows, .cols = cases[i].cols, .scale_kind = cases[i].kind},
                     .scales = scales, .bias = bias, .data = data};
        for (int k = 0; k < CHANNELS * COLS; k++)
            data[k] = (uint8_t)(next(&random) >> 24) & 0xbf; // below 2, no NaN
        for (int k = 0; k < CHANNELS; k++) {
            scales[k] = 0.5f + (float)k / 64;
            bias[k] = (float)(k % 7) - 3;
        }
        for (int k = 0; k < 2 * ROWS * COLS; k++)
            p.x[k] = ecd_to_bf16((float)(next(&random) >> 16) / 65536 - 0.5f);
        ecd_backend *be = open_backend("cuda", ECD_COMPUTE_FP8);
        multiply(be, &p, false, got);
        assert_true(!emulated || ecd_fake_counted().fp8_products == (cases[i].in_fp8 ? 2 : 0));
        multiply(be, &p, true, again);
        assert_memory_equal(got, again, (size_t)(2 * ROWS * p.w.rows) * sizeof *got);
        close_cuda(be);
        double error = 0, size = 0;
        for (int64_t r = 0; r < 2 * ROWS; r++)
            for (int64_t n = 0; n < p.w.rows; n++) {
                double sum = 0, scale = p.w.scale_kind == ECD_SCALE_ROW ? scales[n] : p.w.scale_kind ? scales[0] : 1;
                for (int64_t k = 0; k < p.w.cols; k++) {
                    uint8_t bits = data[n * p.w.cols + k];
                    float w = p.w.dtype == ECD_E4M3 ? ecd_from_e4m3(bits) : ecd_from_e5m2(bits);
                    sum += (double)ecd_from_bf16(p.x[r * p.w.cols + k]) * w;
                }
                double expected = sum * scale + bias[n], difference = got[r * p.w.rows + n] - expected;
                error += difference * difference;
                size += expected * expected;
            }
        error = sqrt(error / size);
        assert_true(cases[i].in_fp8 ? error > 1e-3 && error < 0.05 : error < 5e-3);
    }
}

// ---- products of one x

typedef struct shared_x {
    ecd_weight w[2], plain; // in E4M3; in BF16
    uint16_t *x;
    float *out[3];
} shared_x;

static void times(ecd_backend *be, const shared_x *s, const ecd_weight *w, bool again, int to)
{
    const ecd_linear op = {.w = w, .pictures = 1, .rows = ROWS, .x = s->x, .out = s->out[to], .out_f32 = true,
                           .epilogue = ECD_EPILOGUE_SILU, .x_again = again};
    be->ops->linear(be, &op);
}

static void fill(ecd_backend *be, void *to, size_t bytes, uint32_t random)
{
    uint8_t values[2 * CHANNELS * COLS];
    for (size_t i = 0; i < bytes; i++)
        values[i] = (uint8_t)(next(&random) >> 24) & 0xbf; // no NaN in E4M3 or BF16
    be->ops->upload(be, to, values, bytes);
}

// Takes the scratch and fills it, as the operations of a VAE may.
static void use_scratch(ecd_backend *be)
{
    char *scratch = ecd_cuda_scratch(be, 1);
    fill(be, scratch + ECD_CUBLASLT_WORKSPACE, ROWS * COLS, 77);
}

// Expects the output of the second weight to be what it is without telling.
static void expect_second(ecd_backend *be, const shared_x *s, int to)
{
    float got[ROWS * CHANNELS], expected[ROWS * CHANNELS];
    times(be, s, &s->w[1], false, 2);
    be->ops->download(be, expected, s->out[2], sizeof expected);
    be->ops->download(be, got, s->out[to], sizeof got);
    assert_memory_equal(expected, got, sizeof got);
    be->ops->upload(be, s->out[to], (float[ROWS * CHANNELS]){0}, sizeof got);
}

static uint64_t launches(void)
{
    return emu_counted().launches;
}

static void test_same_x(void **state)
{
    (void)state;
    ecd_backend *be = open_backend("cuda", ECD_COMPUTE_FP8);
    char *memory[] = {be->ops->alloc(be, CHANNELS * COLS), be->ops->alloc(be, CHANNELS * COLS),
                      be->ops->alloc(be, 2 * CHANNELS * COLS), be->ops->alloc(be, 2 * ROWS * COLS),
                      be->ops->alloc(be, 3 * 4 * ROWS * CHANNELS)};
    shared_x s = {.w = {{.dtype = ECD_E4M3, .data = memory[0], .rows = CHANNELS, .cols = COLS},
                        {.dtype = ECD_E4M3, .data = memory[1], .rows = CHANNELS, .cols = COLS}},
                  .plain = {.dtype = ECD_BF16, .data = memory[2], .rows = CHANNELS, .cols = COLS},
                  .x = (uint16_t *)(void *)memory[3]};
    for (int i = 0; i < 3; i++) {
        s.out[i] = (float *)(void *)memory[4] + i * ROWS * CHANNELS;
        fill(be, memory[i], (i < 2 ? 1 : 2) * CHANNELS * COLS, (uint32_t)i);
    }
    fill(be, s.x, 2 * ROWS * COLS, 3);
    times(be, &s, &s.w[1], true, 1); // there is nothing yet
    expect_second(be, &s, 1);

    uint64_t before = launches();
    times(be, &s, &s.w[0], false, 0);
    uint64_t one = launches() - before;
    times(be, &s, &s.w[1], true, 1);
    assert_true(!emulated || launches() - before == 2 * one - 2); // neither its largest element nor quantised again
    expect_second(be, &s, 1);

    times(be, &s, &s.w[0], false, 0);
    times(be, &s, &s.plain, true, 0); // not in FP8
    times(be, &s, &s.w[1], true, 1);
    expect_second(be, &s, 1);

    times(be, &s, &s.w[0], false, 0);
    use_scratch(be);
    times(be, &s, &s.w[1], true, 1);
    expect_second(be, &s, 1);

    for (uint32_t i = 0; i < 8; i++) { // as graphs, with another x each time; the odd ones begin behind the first product
        fill(be, s.x, 2 * ROWS * COLS, 10 + i);
        if (i % 2)
            times(be, &s, &s.w[0], false, 0);
        if (i > 4)
            use_scratch(be);
        ecd_sequence_begin(be);
        if (i % 2 == 0)
            times(be, &s, &s.w[0], false, 0);
        times(be, &s, &s.w[1], true, 1);
        ecd_sequence_end(be);
        expect_second(be, &s, 1);
    }
    assert_true(ecd_cuda_sequence_counted(be).replayed >= 4);
    for (int i = 0; i < 3; i++) { // a graph works in the scratch
        times(be, &s, &s.w[0], false, 0);
        ecd_sequence_begin(be);
        times(be, &s, &s.plain, true, 0);
        ecd_sequence_end(be);
        times(be, &s, &s.w[1], true, 1);
        expect_second(be, &s, 1);
    }
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        be->ops->free(be, memory[i]);
    close_cuda(be);
}

// ---- pictures

enum { MOST_BYTES = 64 * 64 * 3, STEPS = 2 };

typedef struct picture {
    int bytes;
    uint8_t rgb[MOST_BYTES];
} picture;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    picture *p = user;
    (void)index, (void)diag;
    p->bytes = (int)(height * width * 3);
    assert_true(p->bytes <= MOST_BYTES);
    memcpy(p->rgb, rgb, (size_t)p->bytes);
    return ECD_OK;
}

static void draw(const char *model, const char *backend, ecd_compute compute, ecd_weights_mode mode, picture *out)
{
    ecd_diag diag = {0};
    ecd_pipeline *p = NULL;
    ecd_backend *be = open_backend(backend, compute);
    ecd_pipeline_options o = {.model = model, .backend = be, .max_pictures = 1, .guidance = true,
                              .store = {.mode = mode, .buffers = 2, .read_ahead = true}};
    const ecd_picture_request one = {1, 3};
    ecd_draw request = {.pictures = &one, .count = 1, .steps = STEPS, .guidance = 4, .sink = keep, .user = out};
    expect_ok(ecd_pipeline_open(&o, &p, &diag), &diag);
    expect_ok(ecd_pipeline_draw(p, &request, &diag), &diag);
    ecd_pipeline_close(p);
    assert_true(!emulated || (ecd_fake_counted().fp8_products > 0) == (compute == ECD_COMPUTE_FP8));
    close_cuda(be);
}

static double mean_difference(const picture *a, const picture *b, int *largest)
{
    double sum = 0;
    *largest = 0;
    for (int i = 0; i < a->bytes; i++) {
        int difference = abs(a->rgb[i] - b->rgb[i]);
        sum += difference;
        *largest = difference > *largest ? difference : *largest;
    }
    return sum / a->bytes;
}

// dit_b, its matrices rounded to E4M3 with a scale a row.
static void test_pictures(void **state)
{
    (void)state;
    static const char *const model = "test_cuda_fp8.model";
    static picture exact, narrow, raw, coded;
    int largest[2];
    ecd_diag diag = {0};
    ecd_work_report report;
    assert_int_equal(system("rm -rf test_cuda_fp8.model"), 0);
    expect_ok(ecd_compress(ECD_TEST_DATA "/models/dit_b", model,
                           &(ecd_compress_options){.quantize_e4m3 = true, .level = ECD_LEVEL_FAST, .threads = 1}, &report,
                           &diag),
              &diag);
    draw(model, "ref", ECD_COMPUTE_F32, ECD_WEIGHTS_RAW, &exact);
    draw(model, "cuda", ECD_COMPUTE_BF16, ECD_WEIGHTS_RAW, &narrow);
    draw(model, "cuda", ECD_COMPUTE_FP8, ECD_WEIGHTS_RAW, &raw);
    draw(model, "cuda", ECD_COMPUTE_FP8, ECD_WEIGHTS_ECF8, &coded);
    assert_memory_equal(raw.rgb, coded.rgb, (size_t)raw.bytes);
    double bf16 = mean_difference(&exact, &narrow, &largest[0]), fp8 = mean_difference(&exact, &raw, &largest[1]);
    print_message("%d steps: bf16 differs by %.2f/255 (at most %d), fp8 by %.2f (at most %d)\n", STEPS, bf16, largest[0], fp8,
                  largest[1]);
    assert_true(fp8 > 0 && fp8 < 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(ECD_CUDA_EMULATED)
        cmocka_unit_test(test_refused),
#endif
        cmocka_unit_test(test_quantised),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_same_x),
        cmocka_unit_test(test_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
