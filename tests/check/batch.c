// What a picture's bits must not depend on: the pictures beside it (attention and norms; products are checked in
// linear.c, convolutions take one picture), and the form that holds the weights.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

// The same sequence from rows that lie `gap` elements apart, where a device may have to load in another way.
static void check_attention_apart(ecd_check *check, ecd_attention one, const char *expected, int64_t gap)
{
    const size_t act = check->one->act_bytes, width = (size_t)(one.heads * one.head_dim), stride = width + (size_t)gap;
    const size_t rows = (size_t)one.q_tokens, size = rows * stride * act;
    char *apart = calloc(4, size), *out = apart + 3 * size;
    const void *from[] = {one.q, one.k, one.v};
    for (size_t i = 0; i < 3 * rows; i++)
        memcpy(apart + i * stride * act, (const char *)from[i / rows] + i % rows * width * act, width * act);
    one.q = apart;
    one.k = apart + size;
    one.v = apart + 2 * size;
    one.out = out;
    one.q_stride = one.k_stride = one.v_stride = one.out_stride = (int64_t)stride;
    check->two->ops->attention(check->two, &one);
    bool same = true;
    for (size_t i = 0; i < rows; i++)
        same &= !memcmp(out + i * stride * act, expected + i * width * act, width * act);
    ecd_check_true(check, "attention: rows that lie apart give the same bits", same);
    free(apart);
}

static void check_attention(ecd_check *check, int64_t batch, int64_t heads, int64_t dim, int64_t tokens, bool masked)
{
    size_t width = (size_t)(heads * dim), out = (size_t)batch * (size_t)tokens * width, act = check->one->act_bytes;
    size_t picture = (size_t)tokens * width * act;
    float *values = ecd_check_values(check, 3 * out), *bias = ecd_check_values(check, (size_t)(heads * (2 * tokens - 1)));
    char *x = malloc(3 * out * act), *all = malloc(out * act), *alone = malloc(picture);
    ecd_check_raise_keys(values + out, batch, tokens, (int64_t)width, (int64_t)width);
    ecd_check_as_act(check->one, values, 3 * out, x);
    ecd_attention op = {.batch = batch, .heads = heads, .head_dim = dim, .q_tokens = tokens, .kv_tokens = tokens,
                        .q = x, .k = x + out * act, .v = x + 2 * out * act, .out = all,
                        .scale = 1 / sqrtf((float)dim), .causal = masked, .distance_bias = masked ? bias : NULL};
    check->two->ops->attention(check->two, &op);
    for (int64_t b = 0; b < batch; b++) {
        ecd_attention one = op;
        one.batch = 1;
        one.q = x + (size_t)b * picture;
        one.k = x + out * act + (size_t)b * picture;
        one.v = x + 2 * out * act + (size_t)b * picture;
        one.out = alone;
        check->two->ops->attention(check->two, &one);
        ecd_check_true(check, "attention: a sequence alone gives the same bits",
                       !memcmp(alone, all + (size_t)b * picture, picture));
        if (b == 0)
            check_attention_apart(check, one, alone, 1);
    }
    free(values);
    free(bias);
    free(x);
    free(all);
    free(alone);
}

static void check_norm(ecd_check *check, int64_t rows, int64_t cols)
{
    size_t act = check->one->act_bytes, count = (size_t)(rows * cols);
    float *x = ecd_check_values(check, count), *vectors = ecd_check_values(check, 2 * count);
    char *all = malloc(count * act), *alone = malloc((size_t)cols * act);
    ecd_norm op = {.x = x, .rows = rows, .cols = cols, .eps = 1e-6f, .shift = vectors, .scale = vectors + count,
                   .group_rows = 1, .mod_stride = cols, .out = all};
    check->two->ops->norm(check->two, &op);
    for (int64_t r = 0; r < rows; r++) {
        ecd_norm one = op;
        one.x = x + r * cols;
        one.rows = 1;
        one.shift = vectors + r * cols;
        one.scale = vectors + count + r * cols;
        one.out = alone;
        check->two->ops->norm(check->two, &one);
        ecd_check_true(check, "norm: a row alone gives the same bits",
                       !memcmp(alone, all + (size_t)(r * cols) * act, (size_t)cols * act));
    }
    free(x);
    free(vectors);
    free(all);
    free(alone);
}

// E4M3 holds the values; F32, F16 and BF16 hold them exactly too.
static void check_forms(ecd_check *check, int64_t rows, int64_t cols, int64_t channels)
{
    size_t count = (size_t)(cols * channels), act = check->one->act_bytes, out_count = (size_t)(2 * rows * channels);
    float *wide = ecd_check_values(check, count), *values = ecd_check_values(check, (size_t)(2 * rows * cols));
    uint8_t *bytes = malloc(count);
    uint16_t *half = malloc(2 * count), *brain = malloc(2 * count);
    char *x = malloc((size_t)(2 * rows * cols) * act);
    float *first = malloc(4 * out_count), *other = malloc(4 * out_count);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = ecd_to_e4m3(wide[i]);
        wide[i] = ecd_from_e4m3(bytes[i]);
        half[i] = ecd_to_f16(wide[i]);
        brain[i] = ecd_to_bf16(wide[i]);
    }
    ecd_check_as_act(check->one, values, (size_t)(2 * rows * cols), x);
    const ecd_weight forms[] = {{ECD_E4M3, bytes, channels, cols, ECD_SCALE_NONE, NULL, NULL},
                                {ECD_F32, wide, channels, cols, ECD_SCALE_NONE, NULL, NULL},
                                {ECD_F16, half, channels, cols, ECD_SCALE_NONE, NULL, NULL},
                                {ECD_BF16, brain, channels, cols, ECD_SCALE_NONE, NULL, NULL}};
    for (int i = 0; i < 4; i++) {
        ecd_linear op = {.w = &forms[i], .pictures = 2, .rows = rows, .x = x, .out = i ? other : first, .out_f32 = true};
        check->two->ops->linear(check->two, &op);
        ecd_check_true(check, "linear: every form of the weight gives the same bits",
                       i == 0 || !memcmp(first, other, 4 * out_count));
    }
    free(wide);
    free(values);
    free(bytes);
    free(half);
    free(brain);
    free(x);
    free(first);
    free(other);
}

void ecd_check_batch(ecd_check *check)
{
    check_attention(check, 3, 2, 40, 65, false);
    check_attention(check, 5, 6, 64, 64, false);
    check_attention(check, 2, 2, 24, 70, true);
    check_attention(check, 3, 3, 72, 66, false);
    check_attention(check, 8, 1, 128, 67, false);
    check_attention(check, 2, 1, 104, 33, true);
    check_attention(check, 2, 1, 512, 37, false);
    check_attention(check, 1, 2, 136, 35, true);
    check_norm(check, 37, 384);
    check_norm(check, 20, 33);
    check_forms(check, 2, 385, 97); // the product of few rows
    check_forms(check, 64, 384, 96);
    check_forms(check, 19, 1537, 33);
}
