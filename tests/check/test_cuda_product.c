// Products whose weights are decoded where they are multiplied, emulated: near to sums in double, the same bits for a row of
// activations beside whatever others, in any order of threads; damage is reported.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "base/dtype.h"
#include "kernels/cuda/ecf8_product.h"
#include "tests/cuda_emu/emu.h"
#include "tests/unit/ecf8_make.h"

enum { SHARED = 227 << 10, MOST = ECD_ECF8_PRODUCT_ROWS };

static void *to_device(const void *from, uint64_t bytes)
{
    void *p;
    assert_int_equal(cudaMalloc(&p, bytes), cudaSuccess);
    assert_int_equal(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    return p;
}

// A weight [channels, cols] on the device, and in double.
typedef struct weight {
    uint8_t *blob;
    uint64_t blob_bytes;
    uint32_t channels, cols;
    ecf8_view view;
    double *values;
    void *there, *image;
    uint32_t *status;
    ecd_ecf8_plan plan;
} weight;

static void put_on_device(weight *w)
{
    ecd_diag diag = {0};
    w->there = to_device(w->blob, w->blob_bytes);
    const ecd_ecf8_part part = {&w->view, w->there, 0, w->view.tile_count, 0, false, 2, 0, NULL};
    const size_t bytes = ecd_ecf8_plan_bytes(&part, 1);
    void *memory = aligned_alloc(16, (bytes + 15) / 16 * 16);
    assert_int_equal(ecd_ecf8_plan_make(&part, 1, ECF8_FORM_BF16, memory, bytes, &w->plan, &diag), ECD_OK);
    w->image = to_device(w->plan.image, w->plan.image_bytes);
    assert_int_equal(cudaMalloc((void **)&w->status, w->plan.status_count * 4), cudaSuccess);
}

static void take_from_device(weight *w)
{
    cudaFree(w->there);
    cudaFree(w->image);
    cudaFree(w->status);
    free(w->plan.image);
}

static weight make(uint32_t channels, uint32_t cols, uint32_t tile, ecf8_made kind, bool nans)
{
    weight w = {.channels = channels, .cols = cols};
    const uint64_t count = (uint64_t)channels * cols;
    const ecf8_params params = {ECF8_E4M3, channels, cols, ECF8_DENSITY_FAST, tile};
    uint8_t *elements = ecf8_made_weights(count, ECF8_E4M3, kind, channels + tile);
    for (uint64_t i = 0; nans && i < count; i += 1031)
        elements[i] = i % 2 ? 0x7f : 0xff;
    w.values = malloc(count * sizeof *w.values);
    for (uint64_t i = 0; i < count; i++)
        w.values[i] = (double)ecd_from_e4m3(elements[i]);
    w.blob = ecf8_made_blob(elements, count, &params, &w.blob_bytes);
    assert_int_equal(ecf8_open(w.blob, w.blob_bytes, &w.view, NULL), ECF8_OK);
    assert_int_equal(w.view.mode, ECF8_MODE_PAIRS);
    free(elements);
    put_on_device(&w);
    return w;
}

static void drop(weight *w)
{
    take_from_device(w);
    free(w->blob);
    free(w->values);
}

// Sums of `rows` rows of x, which begins at row `first` of the activations; the number of damaged tiles.
static uint32_t multiply(const weight *w, const uint16_t *x, uint32_t x_stride, uint32_t rows, float *sums)
{
    uint32_t faults = 0;
    const uint32_t stride = w->channels + 3;
    const uint64_t bytes = ecd_ecf8_product_bytes(&w->view, w->cols, rows);
    float *out, *host = malloc((size_t)rows * stride * 4);
    ecd_ecf8_product p = {.x_stride = x_stride, .sums_stride = stride, .rows = rows, .cols = w->cols, .channels = w->channels};
    assert_true(ecd_ecf8_product_fits(&w->view, w->cols, rows, SHARED));
    p.x = to_device(x, ((size_t)(rows - 1) * x_stride + w->cols) * 2);
    assert_int_equal(cudaMalloc(&p.partials, bytes), cudaSuccess);
    assert_int_equal(cudaMalloc((void **)&out, (size_t)rows * stride * 4), cudaSuccess);
    p.sums = out;
    cudaMemset(w->status, 0, 4);
    const int error = ecd_ecf8_multiply(&w->plan, w->image, &p, w->status, NULL);
    if (emu_error())
        fail_msg("%s", emu_error());
    assert_int_equal(error, 0);
    cudaMemcpy(host, out, (size_t)rows * stride * 4, cudaMemcpyDeviceToHost);
    cudaMemcpy(&faults, w->status, 4, cudaMemcpyDeviceToHost);
    for (uint32_t m = 0; m < rows; m++)
        memcpy(sums + m * w->channels, host + m * stride, w->channels * 4);
    cudaFree((void *)(uintptr_t)p.x);
    cudaFree(p.partials);
    cudaFree(out);
    free(host);
    return faults;
}

static uint16_t *activations(uint32_t x_stride, uint64_t seed)
{
    uint16_t *x = malloc((size_t)MOST * x_stride * 2);
    uint64_t state = seed * 977 + 12345;
    for (uint32_t i = 0; i < MOST * x_stride; i++)
        x[i] = ecd_to_bf16((float)((int)(ecf8_made_random(&state) % 2001) - 1000) / 700.0f);
    return x;
}

static void expect_near(const weight *w, const uint16_t *x, uint32_t x_stride, const float *sums)
{
    for (uint32_t m = 0; m < MOST; m++)
        for (uint32_t n = 0; n < w->channels; n++) {
            double sum = 0, size = 0;
            for (uint32_t k = 0; k < w->cols; k++) {
                const uint32_t bits = (uint32_t)x[m * x_stride + k] << 16;
                float a;
                memcpy(&a, &bits, 4);
                sum += a * w->values[(size_t)n * w->cols + k];
                size += fabs(a * w->values[(size_t)n * w->cols + k]);
            }
            const float got = sums[m * w->channels + n];
            if (isnan(sum) ? !isnan(got) : !(fabs(got - sum) <= 4e-6 * (size + 1e-6)))
                fail_msg("row %u, channel %u of [%u, %u]: %g, expected %g", m, n, w->channels, w->cols, got, sum);
        }
}

// All rows at once against double; then fewer at once, in other orders and with cp.async: the same bits.
static void check(weight *w)
{
    const uint32_t x_stride = w->cols + 8;
    uint16_t *x = activations(x_stride, w->cols);
    const size_t row = w->channels * sizeof(float);
    float *all = malloc(MOST * row), *some = malloc(MOST * row);
    assert_int_equal(multiply(w, x, x_stride, MOST, all), 0);
    expect_near(w, x, x_stride, all);
    static const struct {
        uint32_t first, rows;
        emu_order order;
        bool bulk;
    } cases[] = {{3, 1, EMU_BACKWARD, true}, {9, 3, EMU_SHUFFLED, false}, {11, 5, EMU_SHUFFLED, true}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        emu_set_order(cases[i].order, i);
        emu_set_bulk_copies(cases[i].bulk);
        assert_int_equal(multiply(w, x + cases[i].first * x_stride, x_stride, cases[i].rows, some), 0);
        for (uint32_t n = 0; n < cases[i].rows * w->channels; n++)
            assert_true(!memcmp(some + n, all + cases[i].first * w->channels + n, 4) ||
                        (isnan(some[n]) && isnan(all[cases[i].first * w->channels + n])));
    }
    emu_set_order(EMU_FORWARD, 0);
    emu_set_bulk_copies(true);
    free(x);
    free(all);
    free(some);
}

static void test_products(void **state)
{
    (void)state;
    static const struct {
        uint32_t channels, cols, tile;
        ecf8_made kind;
        bool nans;
    } cases[] = {
        {50, 1024, 1024, ECF8_MADE_BELL, false}, // a row is a tile
        {60, 384, 1024, ECF8_MADE_BELL, false},  // rows end within tiles, tiles within rows
        {9, 4608, 512, ECF8_MADE_RARE, false},   // a row is nine tiles
        {20, 1152, 4096, ECF8_MADE_BELL, true},
        {30, 3072, 16384, ECF8_MADE_FEW, false}, // with patches
    };
    uint64_t patches = 0;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        weight w = make(cases[i].channels, cases[i].cols, cases[i].tile, cases[i].kind, cases[i].nans);
        patches += w.view.patch_count;
        check(&w);
        drop(&w);
    }
    assert_true(patches > 0);
}

static void test_refused(void **state)
{
    (void)state;
    weight w = make(60, 384, 1024, ECF8_MADE_BELL, false);
    assert_true(ecd_ecf8_product_fits(&w.view, 384, 16, SHARED));
    assert_false(ecd_ecf8_product_fits(&w.view, 384, 17, SHARED));
    assert_false(ecd_ecf8_product_fits(&w.view, 384, 0, SHARED));
    assert_false(ecd_ecf8_product_fits(&w.view, 96, 1, SHARED));  // not whole groups
    assert_false(ecd_ecf8_product_fits(&w.view, 896, 1, SHARED)); // not whole rows
    assert_false(ecd_ecf8_product_fits(&w.view, 384, 16, 48 << 10));
    drop(&w);
}

// Flipped bits of the words: a tile is reported damaged or gives other weights; nothing is touched outside.
static void test_damaged(void **state)
{
    (void)state;
    weight w = make(60, 384, 2048, ECF8_MADE_BELL, false);
    take_from_device(&w);
    uint16_t *x = activations(w.cols, 1);
    float *sums = malloc(MOST * w.channels * sizeof *sums);
    unsigned reported = 0, tried = 0;
    const uint64_t words = (uint64_t)(w.view.words - w.blob);
    for (uint64_t bit = words * 8; bit < w.blob_bytes * 8; bit += 2003, tried++) {
        w.blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_on_device(&w);
        reported += multiply(&w, x, w.cols, 2, sums) > 0;
        take_from_device(&w);
        w.blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    print_message("%u of %u flipped bits end a tile wrongly\n", reported, tried);
    assert_true(reported > tried / 4);
    put_on_device(&w);
    drop(&w);
    free(x);
    free(sums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
