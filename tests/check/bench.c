#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "tests/check/check.h"

static void time_linear(ecd_backend *be, int64_t rows, int64_t cols, int64_t channels)
{
    char *x = calloc((size_t)(rows * cols), 4), *out = calloc((size_t)(rows * channels), 4);
    uint8_t *data = malloc((size_t)(cols * channels));
    for (int64_t i = 0; i < cols * channels; i++)
        data[i] = (uint8_t)(0x20 + i * 7 % 23);
    ecd_weight w = {ECD_E4M3, data, channels, cols, ECD_SCALE_NONE, NULL, NULL};
    ecd_linear op = {.w = &w, .pictures = 1, .rows = rows, .x = x, .out = out};
    double best = 1e9;
    for (int i = 0; i < 12; i++) {
        uint64_t start = ecd_now_ns();
        be->ops->linear(be, &op);
        double seconds = (double)(ecd_now_ns() - start) * 1e-9;
        best = seconds < best ? seconds : best;
    }
    printf("linear  M %5lld K %5lld N %5lld  %d thread(s) %8.3f ms %7.1f GFLOP/s\n", (long long)rows, (long long)cols,
           (long long)channels, be->threads, best * 1e3, 2e-9 * (double)(rows * cols * channels) / best);
    free(x);
    free(out);
    free(data);
}

static void time_conv(ecd_backend *be, int64_t side, int64_t in, int64_t out_channels)
{
    ecd_conv_shape shape = {in, out_channels, 3, 1, 1, 1};
    float *weights = calloc((size_t)(9 * in * out_channels), 4);
    char *x = calloc((size_t)(side * side * in), 4), *out = calloc((size_t)(side * side * out_channels), 4);
    ecd_weight w = {ECD_F32, weights, out_channels, 9 * in, ECD_SCALE_NONE, NULL, NULL};
    ecd_conv op = {.w = be->ops->conv_prepare(be, &shape, &w, NULL), .height = side, .width = side, .x = x, .out = out};
    double best = 1e9;
    for (int i = 0; i < 6; i++) {
        uint64_t start = ecd_now_ns();
        be->ops->conv(be, &op);
        double seconds = (double)(ecd_now_ns() - start) * 1e-9;
        best = seconds < best ? seconds : best;
    }
    printf("conv3x3 %3lldx%-3lld %3lld -> %3lld     %d thread(s) %8.3f ms %7.1f GFLOP/s\n", (long long)side,
           (long long)side, (long long)in, (long long)out_channels, be->threads, best * 1e3,
           18e-9 * (double)(side * side * in * out_channels) / best);
    be->ops->conv_free(be, (ecd_conv_weight *)op.w);
    free(weights);
    free(x);
    free(out);
}

// Best of several calls, in milliseconds.
static double best_of(ecd_backend *be, void (*call)(ecd_backend *be, const void *op), const void *op)
{
    double best = 1e9;
    for (int i = 0; i < 12; i++) {
        uint64_t start = ecd_now_ns();
        call(be, op);
        double ms = (double)(ecd_now_ns() - start) * 1e-6;
        best = ms < best ? ms : best;
    }
    return best;
}

static void call_norm(ecd_backend *be, const void *op)
{
    be->ops->norm(be, op);
}

static void call_attention(ecd_backend *be, const void *op)
{
    be->ops->attention(be, op);
}

static void time_norm(ecd_backend *be, int64_t rows, int64_t cols)
{
    float *x = calloc((size_t)(rows * cols), 4), *vectors = calloc((size_t)cols, 4);
    void *out = calloc((size_t)(rows * cols), 4);
    ecd_norm op = {.x = x, .rows = rows, .cols = cols, .eps = 1e-6f, .shift = vectors, .scale = vectors,
                   .group_rows = rows, .mod_stride = cols, .out = out};
    printf("norm    %5lld rows of %4lld    %d thread(s) %8.3f ms\n", (long long)rows, (long long)cols, be->threads,
           best_of(be, call_norm, &op));
    free(x);
    free(vectors);
    free(out);
}

static void time_attention(ecd_backend *be, int64_t heads, int64_t dim, int64_t tokens)
{
    size_t count = (size_t)(heads * dim * tokens);
    char *x = calloc(count, 4), *out = calloc(count, 4);
    ecd_attention op = {.batch = 1, .heads = heads, .head_dim = dim, .q_tokens = tokens, .kv_tokens = tokens,
                        .q = x, .k = x, .v = x, .out = out, .scale = 0.1f};
    printf("attention %2lld heads of %2lld, %4lld tokens %d thread(s) %8.3f ms\n", (long long)heads, (long long)dim,
           (long long)tokens, be->threads, best_of(be, call_attention, &op));
    free(x);
    free(out);
}

void ecd_check_bench(ecd_check *check)
{
    static const int64_t norms[][2] = {{64, 384}, {256, 1152}}, attentions[][3] = {{6, 64, 64}, {16, 72, 256}};
    for (int i = 0; i < 2; i++) {
        time_norm(check->one, norms[i][0], norms[i][1]);
        time_attention(check->one, attentions[i][0], attentions[i][1], attentions[i][2]);
    }
    static const int64_t linears[][3] = {{2, 384, 2304},   {64, 384, 1152},   {128, 384, 1152},  {128, 384, 1536},
                                         {128, 1536, 384}, {256, 1152, 4608}, {256, 4608, 1152}, {1024, 1152, 1152}};
    static const int64_t convs[][3] = {{16, 128, 128}, {64, 64, 64}, {128, 32, 32}, {64, 512, 512}, {256, 128, 128}};
    for (int i = 0; i < 8; i++) {
        time_linear(check->one, linears[i][0], linears[i][1], linears[i][2]);
        time_linear(check->two, linears[i][0], linears[i][1], linears[i][2]);
    }
    for (int i = 0; i < 5; i++) {
        time_conv(check->one, convs[i][0], convs[i][1], convs[i][2]);
        time_conv(check->two, convs[i][0], convs[i][1], convs[i][2]);
    }
}
