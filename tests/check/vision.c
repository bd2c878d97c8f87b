#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

static void compare(ecd_check *check, const char *what, ecd_check_runner run, const void *parameters, float *x,
                    bool x_act, size_t in, size_t out)
{
    ecd_check_run(check, &(ecd_check_case){what, run, parameters, x, x_act, true, in, out});
}

typedef struct conv_case {
    ecd_conv_shape shape;
    int64_t height, width;
    bool upsample, residual;
    int64_t x_gap, out_gap; // elements between pixels
    int64_t cut;            // rows of the first of two calls; 0: one call
    int groups;             // of a group norm of x; 0: none
    bool silu;
    ecd_weight w;
    const float *bias;
} conv_case;

static void run_conv(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    const conv_case *c = parameters;
    ecd_conv_weight *w = be->ops->conv_prepare(be, &c->shape, &c->w, c->bias);
    double measured[128]; // more than ECD_MEASURED_BYTES for each of 33 channels
    ecd_group_norm norm = {.x = x, .pixels = c->height * c->width, .channels = c->shape.in_channels, .groups = c->groups,
                           .x_stride = c->shape.in_channels + c->x_gap, .eps = 1e-6f, .gamma = c->bias,
                           .beta = c->bias + 5, .silu = c->silu, .measured = measured};
    if (c->groups)
        be->ops->group_measure(be, &norm);
    // The input holds enough for the residual too: any values do.
    ecd_conv op = {.w = w, .height = c->height, .width = c->width, .x = x, .upsample = c->upsample,
                   .residual = c->residual ? x : NULL, .out = out, .x_stride = norm.x_stride,
                   .residual_stride = c->x_gap ? norm.x_stride : 0, .out_stride = c->shape.out_channels + c->out_gap,
                   .rows = c->cut, .norm = c->groups ? &norm : NULL};
    be->ops->conv(be, &op);
    op.first_row = c->cut;
    op.rows = ecd_conv_out(&c->shape, c->height * (c->upsample ? 2 : 1)) - c->cut;
    if (c->cut)
        be->ops->conv(be, &op);
    be->ops->conv_free(be, w);
}

// The same as group norm, then convolution, in buffers of their own and in one call: equal bits.
static void run_apart(ecd_backend *be, const conv_case *c, const void *x, void *out)
{
    conv_case plain = *c;
    int64_t in = c->shape.in_channels, pixels = c->height * c->width;
    void *normed = malloc((size_t)(pixels * in) * be->act_bytes);
    ecd_group_norm norm = {.x = x, .pixels = pixels, .channels = in, .groups = c->groups, .x_stride = in + c->x_gap,
                           .eps = 1e-6f, .gamma = c->bias, .beta = c->bias + 5, .silu = c->silu, .out = normed};
    be->ops->group_norm(be, &norm);
    plain.groups = 0;
    plain.cut = plain.x_gap = 0;
    run_conv(be, &plain, normed, out);
    free(normed);
}

static void check_conv_apart(ecd_check *check, const conv_case *c, const float *x, size_t in, size_t out)
{
    ecd_backend *backends[] = {check->ref, check->one, check->two};
    for (int i = 0; i < 3; i++) {
        size_t act = backends[i]->act_bytes;
        char *input = malloc(in * act), *first = calloc(out, act), *second = calloc(out, act);
        ecd_check_as_act(backends[i], x, in, input);
        run_conv(backends[i], c, input, first);
        run_apart(backends[i], c, input, second);
        ecd_check_true(check, "conv with norm: the bits of norm, then conv", !memcmp(first, second, out * act));
        free(input);
        free(first);
        free(second);
    }
}

static void check_conv_case(ecd_check *check, const char *what, conv_case c, bool nan)
{
    int64_t grow = c.upsample ? 2 : 1;
    int64_t height = ecd_conv_out(&c.shape, c.height * grow), width = ecd_conv_out(&c.shape, c.width * grow);
    size_t in = (size_t)(c.height * c.width * (c.shape.in_channels + c.x_gap));
    size_t out = (size_t)(height * width * (c.shape.out_channels + c.out_gap));
    c.w = (ecd_weight){.dtype = ECD_F32, .rows = c.shape.out_channels,
                       .cols = c.shape.in_channels * c.shape.kernel * c.shape.kernel};
    float *weights = ecd_check_values(check, (size_t)(c.w.rows * c.w.cols)), *bias = ecd_check_values(check, 64);
    float *x = ecd_check_values(check, in);
    x[in / 2] = nan ? NAN : x[in / 2];
    c.w.data = weights;
    c.bias = bias;
    compare(check, what, run_conv, &c, x, true, in, out);
    if (c.groups)
        check_conv_apart(check, &c, x, in, out);
    free(weights);
    free(bias);
    free(x);
}

static void check_conv(ecd_check *check)
{
    static const conv_case plain[] = {
        {.shape = {4, 7, 3, 1, 1, 1}, .height = 5, .width = 9},
        {.shape = {32, 32, 3, 1, 1, 1}, .height = 16, .width = 16, .residual = true},
        {.shape = {33, 18, 3, 1, 1, 1}, .height = 11, .width = 13, .upsample = true},
        {.shape = {16, 20, 3, 2, 0, 1}, .height = 10, .width = 12},
        {.shape = {19, 35, 1, 1, 0, 0}, .height = 7, .width = 7},
        {.shape = {8, 3, 3, 1, 1, 1}, .height = 1, .width = 1},
        {.shape = {16, 8, 3, 1, 1, 1}, .height = 4, .width = 3},
        {.shape = {8, 8, 3, 1, 1, 1}, .height = 4, .width = 3, .residual = true},
        {.shape = {8, 8, 3, 1, 1, 1}, .height = 4, .width = 3, .upsample = true},
        {.shape = {8, 4, 1, 1, 0, 0}, .height = 8, .width = 6},
        {.shape = {4, 3, 3, 1, 1, 1}, .height = 8, .width = 6},
    };
    static const conv_case views[] = {
        {.shape = {24, 18, 3, 1, 1, 1}, .height = 21, .width = 19, .x_gap = 5, .out_gap = 18, .cut = 9},
        {.shape = {20, 20, 3, 1, 1, 1}, .height = 40, .width = 6, .residual = true, .x_gap = 20, .cut = 31},
        {.shape = {16, 12, 3, 2, 0, 1}, .height = 30, .width = 14, .x_gap = 1, .cut = 7},
        {.shape = {33, 18, 3, 1, 1, 1}, .height = 33, .width = 13, .upsample = true, .cut = 25, .groups = 11},
        {.shape = {32, 40, 3, 1, 1, 1}, .height = 37, .width = 9, .out_gap = 3, .groups = 4, .silu = true},
        {.shape = {30, 17, 1, 1, 0, 0}, .height = 9, .width = 11, .x_gap = 2, .cut = 4, .groups = 3, .silu = true},
    };
    char what[80];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(what, sizeof what, "conv case %zu", i);
        check_conv_case(check, what, plain[i], i == 2);
    }
    uint64_t random = check->random; // later checks keep the values that they had before there were these
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        snprintf(what, sizeof what, "conv of views, in pieces, with norm, case %zu", i);
        check_conv_case(check, what, views[i], false);
    }
    check->random = random;
}

static void run_group_norm(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    ecd_group_norm op = *(const ecd_group_norm *)parameters;
    op.x = x;
    op.out = out;
    be->ops->group_norm(be, &op);
}

static void run_norm(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    ecd_norm op = *(const ecd_norm *)parameters;
    op.x = x;
    op.out = out;
    be->ops->norm(be, &op);
}

static void check_norms(ecd_check *check)
{
    float *vectors = ecd_check_values(check, 4096);
    static const int64_t shapes[][3] = {{1, 6, 3}, {70, 32, 8}, {257, 48, 3}, {300, 34, 2}};
    for (int i = 0; i < 4; i++) {
        ecd_group_norm op = {.pixels = shapes[i][0], .channels = shapes[i][1], .groups = shapes[i][2], .eps = 1e-6f,
                             .gamma = vectors, .beta = vectors + 64, .silu = i & 1};
        ecd_norm norm = {.rows = shapes[i][0], .cols = shapes[i][1], .eps = 1e-6f, .shift = i ? vectors : NULL,
                         .scale = i ? vectors + 7 : NULL, .group_rows = 64, .mod_stride = 101};
        size_t count = (size_t)(op.pixels * op.channels);
        float *x = ecd_check_values(check, count);
        compare(check, "group norm", run_group_norm, &op, x, true, count, count);
        compare(check, "norm", run_norm, &norm, x, false, count, count);
        ecd_norm learned = {.rows = shapes[i][0], .cols = shapes[i][1], .eps = 1e-5f, .gamma = vectors + 3,
                            .beta = i & 1 ? vectors + 900 : NULL, .rms = i & 2};
        compare(check, "norm with weights", run_norm, &learned, x, false, count, count);
        x[count / 2] = NAN;
        compare(check, "norm with NaN", run_norm, &norm, x, false, count, count);
        free(x);
    }
    free(vectors);
}

static void run_attention(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    ecd_attention op = *(const ecd_attention *)parameters;
    op.q = x;
    op.k = (const char *)x + (size_t)(op.heads * op.head_dim) * be->act_bytes;
    op.v = (const char *)x + (size_t)(2 * op.heads * op.head_dim) * be->act_bytes;
    op.out = out;
    be->ops->attention(be, &op);
}

static void check_attention(ecd_check *check)
{
    static const int64_t shapes[][4] = {{1, 1, 1, 1}, {2, 3, 40, 65}, {1, 2, 72, 300}, {1, 1, 512, 70}, {3, 6, 64, 64}};
    for (int i = 0; i < 5; i++) {
        int64_t width = shapes[i][1] * shapes[i][2], tokens = shapes[i][3];
        ecd_attention op = {.batch = shapes[i][0], .heads = shapes[i][1], .head_dim = shapes[i][2], .q_tokens = tokens,
                            .kv_tokens = tokens, .q_stride = 3 * width, .k_stride = 3 * width, .v_stride = 3 * width,
                            .scale = 1 / sqrtf((float)shapes[i][2])};
        size_t out = (size_t)(op.batch * tokens * width);
        float *x = ecd_check_values(check, 3 * out);
        compare(check, "attention", run_attention, &op, x, true, 3 * out, out);
        ecd_check_raise_keys(x + width, op.batch, tokens, width, 3 * width);
        compare(check, "attention that ends in large logits", run_attention, &op, x, true, 3 * out, out);
        float *bias = ecd_check_values(check, (size_t)(op.heads * (2 * tokens - 1)));
        ecd_attention masked = op;
        masked.causal = i != 2;
        masked.distance_bias = i ? bias : NULL;
        compare(check, "attention, causal or with bias", run_attention, &masked, x, true, 3 * out, out);
        free(bias);
        x[3 * out / 2] = NAN;
        compare(check, "attention with NaN", run_attention, &op, x, true, 3 * out, out);
        free(x);
    }
}

static void run_silu(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    be->ops->to_act(be, x, *(const int64_t *)parameters, true, out);
}

void ecd_check_vision(ecd_check *check)
{
    check_conv(check);
    check_norms(check);
    check_attention(check);
    int64_t count = 37;
    float *x = ecd_check_values(check, 37);
    memcpy(x, (float[]){NAN, INFINITY, -INFINITY, -0.0f, 1e-40f, 100.0f, -100.0f}, 7 * sizeof *x);
    compare(check, "silu", run_silu, &count, x, false, 37, 37);
    free(x);
}
