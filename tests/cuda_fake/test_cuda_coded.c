// Weights that stay ECF8 on the device: products by chunks give the bits that elements give, damage is told as the host tells
// it, all memory comes back; and products formed while decoding are near to those.
#include "tests/unit/reference.h"

#include <math.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"
#include "weights/coded.h"

enum { ROWS = 700, COLS = 384, PICTURES = 2, TOKENS = 5, COUNT = ROWS * COLS, OUT = PICTURES * TOKENS * ROWS };

static ecd_status open_cuda(ecd_compute compute, const char *chunk_kib, const char *fused_rows, ecd_backend **be,
                            ecd_diag *diag)
{
    setenv("ECD_CUDA_CHUNK_KIB", chunk_kib, 1);
    setenv("ECD_CUDA_FUSED_ROWS", fused_rows, 1);
    ecd_status status = ecd_cuda_open_with(&(ecd_backend_options){.name = "cuda", .compute = compute, .threads = 1},
                                           &(ecd_cuda_libraries){"", ""}, be, diag);
    unsetenv("ECD_CUDA_CHUNK_KIB");
    unsetenv("ECD_CUDA_FUSED_ROWS");
    return status;
}

static float random_float(uint64_t *state)
{
    float v = 0;
    for (int k = 0; k < 4; k++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        v += (float)(*state >> 40) / 16777216.0f - 0.5f;
    }
    return v;
}

// A weight's elements and their ECF8 on the host, its scales on the device.
typedef struct sample {
    ecd_dtype dtype;
    uint8_t *elements, *blob;
    uint64_t blob_bytes;
    ecd_coded coded;
    ecd_weight weight;
} sample;

static void make(ecd_backend *be, ecd_dtype dtype, ecd_scale_kind kind, sample *s)
{
    uint64_t random = 5;
    ecd_diag diag = {0};
    float scales[ROWS];
    *s = (sample){.dtype = dtype, .elements = malloc(COUNT * 2)};
    for (int i = 0; i < COUNT; i++) {
        float v = random_float(&random);
        uint16_t wide = dtype == ECD_F16 ? ecd_to_f16(v) : ecd_to_bf16(v);
        if (ecd_dtype_size(dtype) == 1)
            s->elements[i] = dtype == ECD_E4M3 ? ecd_to_e4m3(v) : ecd_to_e5m2(v);
        else
            memcpy(s->elements + 2 * i, &wide, 2);
    }
    for (int i = 0; i < ROWS; i++)
        scales[i] = 1.0f + random_float(&random) / 4;
    expect_ok(ecd_coded_encode(dtype, s->elements, COUNT, ROWS, COLS, &s->blob, &s->blob_bytes, &diag), &diag);
    assert_non_null(s->blob);
    s->coded = (ecd_coded){.dtype = dtype, .count = COUNT, .place = {.tensor = "blocks.0.weight"}};
    assert_int_equal(ecf8_open(s->blob, s->blob_bytes, &s->coded.view, NULL), ECF8_OK);
    float *there = kind ? be->ops->alloc(be, sizeof scales) : NULL;
    if (there)
        be->ops->upload(be, there, scales, sizeof scales);
    s->weight = (ecd_weight){.dtype = dtype, .rows = ROWS, .cols = COLS, .scale_kind = kind, .scale = there};
}

static void drop(ecd_backend *be, sample *s)
{
    be->ops->coded_free(be, s->coded.held);
    be->ops->free(be, (void *)(uintptr_t)s->weight.scale);
    free(s->elements);
    free(s->blob);
}

static ecd_weight as_elements(ecd_backend *be, const sample *s)
{
    ecd_weight w = s->weight;
    void *there = be->ops->alloc(be, COUNT * ecd_dtype_size(s->dtype));
    be->ops->upload(be, there, s->elements, COUNT * ecd_dtype_size(s->dtype));
    w.data = there;
    return w;
}

static ecd_weight as_coded(ecd_backend *be, sample *s)
{
    ecd_weight w = s->weight;
    w.data = s->blob;
    w.coded = &s->coded;
    if (!s->coded.held)
        s->coded.held = be->ops->coded_hold(be, &w);
    return w;
}

// What the product is asked for besides: epilogues whose vectors lie by output channel.
static void run(ecd_backend *be, const ecd_weight *w, int variant, float *out)
{
    static const ecd_epilogue epilogues[] = {ECD_EPILOGUE_NONE, ECD_EPILOGUE_GELU_TANH, ECD_EPILOGUE_RESIDUAL};
    uint64_t random = 99;
    size_t x_count = PICTURES * TOKENS * COLS, act = be->act_bytes;
    char *host = malloc((x_count + OUT) * sizeof(float));
    float *vectors = malloc(2 * ROWS * sizeof *vectors);
    for (size_t i = 0; i < x_count; i++) {
        float v = random_float(&random);
        uint16_t narrow = ecd_to_bf16(v);
        memcpy(host + i * act, act == 2 ? (void *)&narrow : (void *)&v, act);
    }
    for (int i = 0; i < 2 * ROWS; i++)
        vectors[i] = random_float(&random);
    char *x = be->ops->alloc(be, x_count * act), *to = be->ops->alloc(be, OUT * sizeof(float));
    float *there = be->ops->alloc(be, 2 * ROWS * sizeof *vectors);
    be->ops->upload(be, x, host, x_count * act);
    be->ops->upload(be, there, vectors, 2 * ROWS * sizeof *vectors);
    memset(host, 0, OUT * sizeof(float));
    be->ops->upload(be, to, host, OUT * sizeof(float));
    ecd_linear op = {.w = w, .pictures = PICTURES, .rows = TOKENS, .x = x, .out = to, .out_f32 = variant == 0,
                     .epilogue = epilogues[variant], .bias = variant ? there : NULL,
                     .gate = variant == 2 ? there + ROWS : NULL, .gate_rows = TOKENS};
    be->ops->linear(be, &op);
    be->ops->download(be, out, to, OUT * sizeof(float));
    be->ops->free(be, x);
    be->ops->free(be, to);
    be->ops->free(be, there);
    free(host);
    free(vectors);
}

// Chunks of 128 and 256 rows, the last of which are short and begin within tiles; then all in one.
static void compare(ecd_compute compute, ecd_dtype dtype, ecd_scale_kind kind, const char *chunk_kib, int variant)
{
    static float expected[OUT], got[OUT];
    ecd_backend *be;
    ecd_diag diag = {0};
    sample s;
    expect_ok(open_cuda(compute, chunk_kib, "0", &be, &diag), &diag);
    make(be, dtype, kind, &s);
    ecd_weight elements = as_elements(be, &s), coded = as_coded(be, &s);
    expect_ok(ecd_backend_check(be, &diag), &diag);
    assert_non_null(s.coded.held);
    assert_true(atomic_load(&s.coded.proven));
    memset(expected, 0, sizeof expected);
    memset(got, 0, sizeof got);
    run(be, &elements, variant, expected);
    run(be, &coded, variant, got);
    expect_ok(ecd_backend_check(be, &diag), &diag);
    assert_memory_equal(expected, got, sizeof got);
    be->ops->free(be, (void *)(uintptr_t)elements.data);
    drop(be, &s);
    ecd_backend_close(be);
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const sizes[] = {"1", "192", "4096"};
    static const ecd_dtype dtypes[] = {ECD_E4M3, ECD_BF16, ECD_E5M2, ECD_F16};
    for (int i = 0; i < 12; i++)
        compare(i % 3 ? ECD_COMPUTE_BF16 : ECD_COMPUTE_F32, dtypes[i % 4], (ecd_scale_kind)(i / 3), sizes[i % 3], (i / 2) % 3);
    for (int variant = 0; variant < 3; variant++) // FP8 stays as it is where it is multiplied so
        compare(ECD_COMPUTE_FP8, ECD_E4M3, variant ? ECD_SCALE_TENSOR : ECD_SCALE_BLOCK, sizes[1], variant);
    assert_null(emu_error());
    assert_null(ecd_fake_error());
    assert_int_equal(emu_counted().allocations, 0);
}

// Rows of a table; and what is refused.
static void test_other_uses(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_diag diag = {0};
    sample s;
    static float expected[3 * COLS], got[3 * COLS], sums[OUT];
    const int64_t ids[] = {699, 0, 130};
    expect_ok(open_cuda(ECD_COMPUTE_BF16, "64", "0", &be, &diag), &diag);
    make(be, ECD_E4M3, ECD_SCALE_TENSOR, &s);
    ecd_weight elements = as_elements(be, &s), coded = as_coded(be, &s);
    float *out = be->ops->alloc(be, sizeof got);
    for (int i = 0; i < 2; i++) {
        memset(got, 0, sizeof got);
        be->ops->upload(be, out, got, sizeof got);
        be->ops->add_rows(be, i ? &coded : &elements, ids, 3, out);
        be->ops->download(be, i ? got : expected, out, sizeof got);
    }
    expect_ok(ecd_backend_check(be, &diag), &diag);
    assert_memory_equal(expected, got, sizeof got);
    be->ops->free(be, out);
    be->ops->free(be, (void *)(uintptr_t)elements.data);
    ecd_coded_held *held = s.coded.held;
    s.coded.held = NULL;
    run(be, &coded, 0, sums);
    assert_int_equal(ecd_backend_check(be, &diag), ECD_USAGE);
    s.coded.held = held;
    drop(be, &s);
    ecd_backend_close(be);
    assert_int_equal(open_cuda(ECD_COMPUTE_BF16, "many", "0", &be, &diag), ECD_USAGE);
    assert_int_equal(open_cuda(ECD_COMPUTE_BF16, "64", "17", &be, &diag), ECD_USAGE);
    expect_ok(open_cuda(ECD_COMPUTE_BF16, "0", "0", &be, &diag), &diag);
    assert_true(!be->ops->coded_hold);
    ecd_backend_close(be);
    assert_int_equal(emu_counted().allocations, 0);
}

static void test_damaged(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_diag diag = {0};
    sample s;
    expect_ok(open_cuda(ECD_COMPUTE_BF16, "64", "0", &be, &diag), &diag);
    make(be, ECD_E4M3, ECD_SCALE_NONE, &s);
    s.blob[s.coded.view.words - s.blob + 100] ^= 4;
    as_coded(be, &s);
    assert_null(s.coded.held);
    assert_int_equal(ecd_backend_check(be, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "ECF8"));
    drop(be, &s);
    ecd_backend_close(be);
    assert_int_equal(emu_counted().allocations, 0);
}

static void test_memory_out(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (bool done = false; !done; n++) {
        ecd_backend *be;
        ecd_diag diag = {0};
        sample s;
        expect_ok(open_cuda(ECD_COMPUTE_BF16, "64", "0", &be, &diag), &diag);
        make(be, ECD_E4M3, ECD_SCALE_NONE, &s);
        emu_fail_allocation(n);
        as_coded(be, &s);
        emu_fail_allocation(0);
        done = s.coded.held;
        ecd_status status = ecd_backend_check(be, &diag);
        assert_int_equal(status, done ? ECD_OK : ECD_RESOURCE);
        drop(be, &s);
        ecd_backend_close(be);
        assert_int_equal(emu_counted().allocations, 0);
        assert_true(n < 20);
    }
    assert_true(n > 3);
}

// Formed while decoding: near to the chunks' product, and a picture's rows as they are alone.
static void test_fused(void **state)
{
    (void)state;
    static float expected[OUT], got[OUT];
    for (int variant = 0; variant < 3; variant++)
        for (int fused = 0; fused < 2; fused++) {
            ecd_backend *be;
            ecd_diag diag = {0};
            sample s;
            expect_ok(open_cuda(ECD_COMPUTE_BF16, "4096", fused ? "16" : "0", &be, &diag), &diag);
            make(be, ECD_E4M3, ECD_SCALE_ROW, &s);
            ecd_weight coded = as_coded(be, &s);
            uint64_t products = ecd_fake_counted().products;
            memset(fused ? got : expected, 0, sizeof got);
            run(be, &coded, variant, fused ? got : expected);
            assert_int_equal(ecd_fake_counted().products - products, fused ? 0 : PICTURES);
            expect_ok(ecd_backend_check(be, &diag), &diag);
            drop(be, &s);
            ecd_backend_close(be);
            for (int i = 0; fused && i < OUT; i++) {
                float a = expected[i], b = got[i];
                if (variant == 1) { // BF16, two in each float
                    if (i >= OUT / 2)
                        break;
                    uint16_t halves[4];
                    memcpy(halves, expected + i, 4);
                    memcpy(halves + 2, got + i, 4);
                    a = ecd_from_bf16(halves[0]), b = ecd_from_bf16(halves[2]);
                }
                assert_true(fabsf(a - b) <= (variant == 1 ? 0.01f : 2e-5f) * (1 + fabsf(a)));
            }
        }
    assert_null(emu_error());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_other_uses), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_memory_out), cmocka_unit_test(test_fused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
