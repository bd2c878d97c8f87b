// Every product and convolution of DiT-XL/2, FLUX.1, their text encoders and VAEs at their own sizes: what the backend says
// to cuBLASLt, cuDNN and its kernels is checked (fakes), nothing is computed.
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/cuda/cuda.h"
#include "tests/cuda_fake/device_none.h"
#include "tests/cuda_fake/fake.h"

typedef struct product {
    int64_t rows, cols, channels;
    ecd_epilogue epilogue;
    bool out_f32;
} product;

#define N ECD_EPILOGUE_NONE
#define T ECD_EPILOGUE_GELU_TANH
#define S ECD_EPILOGUE_SILU
#define R ECD_EPILOGUE_RESIDUAL
#define Q ECD_EPILOGUE_QUICK_GELU
#define M ECD_EPILOGUE_MULTIPLY

static const product products[] = {
    // DiT-XL/2 at 256x256, both halves of the guidance together
    {512, 16, 1152, R, true}, {1, 256, 1152, S, false}, {1, 1152, 1152, N, true}, {2, 1152, 6912, N, true},
    {512, 1152, 1152, N, false}, {512, 1152, 1152, R, true}, {512, 1152, 4608, T, false}, {512, 4608, 1152, R, true},
    {2, 1152, 2304, N, true}, {512, 1152, 32, N, true},
    // and at 512x512
    {2048, 1152, 1152, N, false}, {2048, 1152, 4608, T, false}, {2048, 4608, 1152, R, true}, {2048, 1152, 32, N, true},
    // FLUX.1 at 1024x1024 with 512 tokens of text
    {4096, 64, 3072, N, true}, {512, 4096, 3072, N, true}, {1, 256, 3072, S, false}, {1, 3072, 3072, N, true},
    {1, 768, 3072, S, false}, {1, 3072, 18432, N, true}, {1, 3072, 9216, N, true}, {1, 3072, 6144, N, true},
    {4096, 3072, 3072, N, false}, {512, 3072, 3072, N, false}, {4096, 3072, 3072, R, true}, {512, 3072, 3072, R, true},
    {4096, 3072, 12288, T, false}, {4096, 12288, 3072, R, true}, {512, 3072, 12288, T, false}, {512, 12288, 3072, R, true},
    {4608, 3072, 3072, N, false}, {4608, 3072, 12288, T, false}, {4608, 15360, 3072, R, true}, {4096, 3072, 64, N, true},
    // CLIP ViT-L and T5 v1.1 XXL
    {77, 768, 768, N, false}, {77, 768, 3072, Q, false}, {77, 3072, 768, R, true}, {512, 4096, 4096, N, false},
    {512, 4096, 10240, T, false}, {512, 4096, 10240, M, false}, {512, 10240, 4096, R, true},
};

static const struct {
    ecd_conv_shape shape;
    int64_t side;
    bool upsample, residual, out_f32;
} convolutions[] = {
    // Decoders of SD's VAE (4 channels of latents) and FLUX.1's (16), 1024x1024
    {{4, 4, 1, 1, 0, 0}, 128, false, false, false}, {{4, 512, 3, 1, 1, 1}, 128, false, false, false},
    {{16, 512, 3, 1, 1, 1}, 128, false, false, false}, {{512, 512, 3, 1, 1, 1}, 128, false, true, false},
    {{512, 512, 3, 1, 1, 1}, 128, true, false, false}, {{512, 512, 3, 1, 1, 1}, 256, true, false, false},
    {{512, 256, 3, 1, 1, 1}, 512, false, false, false}, {{512, 256, 1, 1, 0, 0}, 512, false, false, false},
    {{256, 256, 3, 1, 1, 1}, 512, true, true, false}, {{256, 128, 3, 1, 1, 1}, 1024, false, false, false},
    {{256, 128, 1, 1, 0, 0}, 1024, false, false, false}, {{128, 128, 3, 1, 1, 1}, 1024, false, true, false},
    {{128, 3, 3, 1, 1, 1}, 1024, false, false, true},
    // Encoders
    {{3, 128, 3, 1, 1, 1}, 1024, false, false, false}, {{128, 128, 3, 2, 0, 1}, 1024, false, false, false},
    {{128, 256, 1, 1, 0, 0}, 512, false, false, false}, {{256, 256, 3, 2, 0, 1}, 512, false, false, false},
    {{512, 512, 3, 2, 0, 1}, 256, false, false, false}, {{512, 32, 3, 1, 1, 1}, 128, false, false, false},
    {{512, 8, 3, 1, 1, 1}, 128, false, false, false},
};

static ecd_backend *open_cuda(ecd_compute compute)
{
    ecd_backend *be;
    ecd_diag diag = {0};
    const ecd_backend_options options = {.name = "cuda", .compute = compute, .threads = 1};
    if (ecd_cuda_open_with(&options, &(ecd_cuda_libraries){"", ""}, &be, &diag))
        fail_msg("%s", diag.what);
    ecd_fake_clear();
    ecd_fake_compute(false);
    return be;
}

static void expect_good(ecd_backend *be, const char *what)
{
    ecd_diag diag = {0};
    if (ecd_backend_check(be, &diag) || ecd_fake_error())
        fail_msg("%s: %s", what, ecd_fake_error() ? ecd_fake_error() : diag.what);
}

// So that the next operation takes what it needs itself.
static void forget_scratch(ecd_backend *be)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    ecd_cuda_free(be, cuda->scratch);
    cuda->scratch = NULL;
    cuda->scratch_bytes = 0;
}

// What plans of memory go by.
static void expect_scratch(ecd_backend *be, const char *what, uint64_t planned)
{
    ecd_device_memory memory;
    be->ops->device_memory(be, &memory);
    if (!memory.scratch || memory.scratch > planned)
        fail_msg("%s: %llu bytes of scratch, planned with %llu", what, (unsigned long long)memory.scratch,
                 (unsigned long long)planned);
}

static void multiply(ecd_backend *be, const product *p, ecd_dtype dtype, ecd_scale_kind kind)
{
    enum { PICTURES = 2 };
    char what[160];
    size_t all = (size_t)(PICTURES * p->rows), vector = (size_t)p->channels * sizeof(float);
    bool f32 = p->out_f32 || be->act_bytes == 4;
    void *w = be->ops->alloc(be, (size_t)(p->cols * p->channels) * ecd_dtype_size(dtype));
    float *vectors = be->ops->alloc(be, 2 * vector + (1 << 20));
    void *x = be->ops->alloc(be, all * (size_t)p->cols * be->act_bytes);
    void *out = be->ops->alloc(be, all * (size_t)p->channels * (f32 ? 4 : 2));
    const ecd_weight weight = {.dtype = dtype, .data = w, .rows = p->channels, .cols = p->cols, .scale_kind = kind,
                               .scale = kind ? vectors : NULL};
    ecd_linear op = {.w = &weight, .bias = vectors, .pictures = PICTURES, .rows = p->rows, .x = x, .out = out,
                     .out_f32 = p->out_f32, .epilogue = p->epilogue};
    uint64_t before = ecd_fake_counted().products, planned = be->ops->linear_scratch(be, &weight, p->rows);
    forget_scratch(be);
    for (int biased = 1; biased >= 0; biased--) {
        op.bias = biased ? vectors : NULL;
        be->ops->linear(be, &op);
    }
    snprintf(what, sizeof what, "[%lld, %lld] by %s [%lld, %lld], scale %d", (long long)p->rows, (long long)p->cols,
             ecd_dtype_name(dtype), (long long)p->channels, (long long)p->cols, (int)kind);
    expect_good(be, what);
    expect_scratch(be, what, planned);
    assert_int_equal(ecd_fake_counted().products - before, 2 * PICTURES); // a picture each
    void *memory[] = {w, vectors, x, out};
    for (int i = 0; i < 4; i++)
        be->ops->free(be, memory[i]);
}

static void test_products(void **state)
{
    (void)state;
    for (ecd_compute compute = ECD_COMPUTE_F32; compute <= ECD_COMPUTE_FP8; compute++) {
        ecd_backend *be = open_cuda(compute);
        for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
            multiply(be, &products[i], ECD_F32, ECD_SCALE_NONE);
            multiply(be, &products[i], ECD_BF16, ECD_SCALE_NONE);
            for (ecd_scale_kind kind = ECD_SCALE_NONE; kind <= ECD_SCALE_BLOCK; kind++)
                multiply(be, &products[i], ECD_E4M3, kind);
        }
        print_message("%llu products, %llu in FP8, %llu algorithms asked for\n",
                      (unsigned long long)ecd_fake_counted().products, (unsigned long long)ecd_fake_counted().fp8_products,
                      (unsigned long long)ecd_fake_counted().heuristics);
        assert_true((ecd_fake_counted().fp8_products > 0) == (compute == ECD_COMPUTE_FP8));
        assert_true(ecd_fake_counted().heuristics * 4 < ecd_fake_counted().products); // a shape's is kept
        ecd_backend_close(be);
        assert_int_equal(ecd_fake_pieces(), 0);
        assert_int_equal(ecd_fake_counted().objects, 0);
    }
}

static void convolve(ecd_backend *be, size_t i)
{
    char what[80];
    const ecd_conv_shape *s = &convolutions[i].shape;
    int64_t side = convolutions[i].side, out_side = ecd_conv_out(s, side * (convolutions[i].upsample ? 2 : 1));
    size_t weights = (size_t)(s->in_channels * s->out_channels * s->kernel * s->kernel);
    size_t out_bytes = (size_t)(out_side * out_side * s->out_channels) * (convolutions[i].out_f32 ? 4 : be->act_bytes);
    void *values = be->ops->alloc(be, weights), *x = be->ops->alloc(be, (size_t)(side * side * s->in_channels) * be->act_bytes);
    void *out = be->ops->alloc(be, out_bytes), *residual = be->ops->alloc(be, out_bytes);
    float *bias = be->ops->alloc(be, (size_t)s->out_channels * sizeof *bias);
    const ecd_weight w = {.dtype = ECD_E4M3, .data = values, .rows = s->out_channels,
                          .cols = (int64_t)weights / s->out_channels, .scale_kind = ECD_SCALE_ROW, .scale = bias};
    ecd_conv_weight *prepared = be->ops->conv_prepare(be, s, &w, bias);
    snprintf(what, sizeof what, "convolution %zu", i);
    expect_good(be, what);
    ecd_conv op = {.w = prepared, .height = side, .width = side, .x = x, .upsample = convolutions[i].upsample,
                   .residual = convolutions[i].residual ? residual : NULL, .out = out, .out_f32 = convolutions[i].out_f32};
    ecd_conv unplaced = op;
    unplaced.w = NULL;
    unplaced.x = unplaced.residual = unplaced.out = NULL;
    uint64_t planned = be->ops->conv_scratch(be, s, &unplaced);
    forget_scratch(be);
    be->ops->conv(be, &op);
    op.rows = op.first_row = out_side / 4; // a strip
    be->ops->conv(be, &op);
    expect_good(be, what);
    expect_scratch(be, what, planned);
    be->ops->conv_free(be, prepared);
    void *memory[] = {values, x, out, residual, bias};
    for (int k = 0; k < 5; k++)
        be->ops->free(be, memory[k]);
}

static void test_convolutions(void **state)
{
    (void)state;
    for (ecd_compute compute = ECD_COMPUTE_F32; compute <= ECD_COMPUTE_BF16; compute++) {
        ecd_backend *be = open_cuda(compute);
        size_t count = sizeof convolutions / sizeof *convolutions;
        for (size_t i = 0; i < count; i++)
            convolve(be, i);
        assert_int_equal(ecd_fake_counted().convolutions, 2 * count);
        ecd_backend_close(be);
        assert_int_equal(ecd_fake_pieces(), 0);
        assert_int_equal(ecd_fake_counted().objects, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_convolutions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
