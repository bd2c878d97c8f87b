#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

typedef struct shape {
    int64_t pictures, rows, cols, channels;
} shape;

static void encode(ecd_check *check, ecd_dtype dtype, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) {
        float v = ecd_check_random(check);
        uint16_t half = dtype == ECD_F16 ? ecd_to_f16(v) : ecd_to_bf16(v);
        uint8_t byte = dtype == ECD_E4M3 ? ecd_to_e4m3(v) : ecd_to_e5m2(v);
        size_t size = ecd_dtype_size(dtype);
        memcpy(out + i * size, size == 4 ? (void *)&v : size == 2 ? (void *)&half : (void *)&byte, size);
    }
}

static void run(const ecd_backend *as, ecd_backend *be, ecd_linear op, const float *x, void *out)
{
    size_t count = (size_t)(op.pictures * op.rows * op.x_stride);
    ecd_guarded in = ecd_guarded_new(count * as->act_bytes, as->act_bytes);
    ecd_check_as_act(as, x, count, in.data);
    op.x = in.data;
    op.out = out;
    be->ops->linear(be, &op);
    ecd_guarded_free(&in);
}

// What the output holds before: something that a product with it shows.
static void begin(const ecd_linear *op, void *out, size_t count, size_t element_bytes)
{
    float value = op->epilogue == ECD_EPILOGUE_MULTIPLY ? 1.5f : 0.0f;
    uint16_t half = ecd_to_bf16(value);
    for (size_t i = 0; i < count; i++)
        memcpy((char *)out + i * element_bytes, element_bytes == 4 ? (void *)&value : (void *)&half, element_bytes);
}

// One operation in ref, with one and two threads, and its last picture alone: near to ref, equal among themselves.
static void compare(ecd_check *check, const char *what, ecd_linear op, const float *x)
{
    bool act = !op.out_f32 && op.epilogue != ECD_EPILOGUE_RESIDUAL;
    size_t rows = (size_t)(op.pictures * op.rows), count = rows * (size_t)op.out_stride;
    size_t size = act ? check->one->act_bytes : 4, picture = (size_t)(op.rows * op.out_stride) * size;
    float *expected = calloc(count, sizeof *expected);
    ecd_guarded one = ecd_guarded_new(count * size, size), two = ecd_guarded_new(count * size, size);
    ecd_guarded alone = ecd_guarded_new(picture, size);
    begin(&op, expected, count, sizeof *expected);
    begin(&op, one.data, count, size);
    begin(&op, two.data, count, size);
    begin(&op, alone.data, picture / size, size);
    run(check->ref, check->ref, op, x, expected);
    run(check->one, check->one, op, x, one.data);
    run(check->one, check->two, op, x, two.data);
    ecd_check_close(check, what, expected, one.data, act, count);
    ecd_check_true(check, "linear: two threads give the same bits", !memcmp(one.data, two.data, count * size));
    for (int i = 0; i < check->level_count; i++) {
        begin(&op, two.data, count, size);
        run(check->one, check->levels[i], op, x, two.data);
        char text[200];
        snprintf(text, sizeof text, "%s: equal bits at %s", what, check->level_names[i]);
        ecd_check_true(check, text, ecd_check_same(one.data, two.data, count, size));
    }
    ecd_linear last = op;
    int64_t before = op.pictures - 1;
    last.pictures = 1;
    if (!op.gate || op.gate_rows == op.rows) {
        last.gate = op.gate ? op.gate + before * op.gate_stride : NULL;
        run(check->one, check->two, last, x + before * op.rows * op.x_stride, alone.data);
        ecd_check_true(check, "linear: a picture alone gives the same bits",
                       !memcmp(alone.data, (char *)one.data + (size_t)before * picture, picture));
    }
    ecd_check_true(check, "linear: canaries",
                   ecd_guarded_intact(&one) && ecd_guarded_intact(&two) && ecd_guarded_intact(&alone));
    free(expected);
    ecd_guarded_free(&one);
    ecd_guarded_free(&two);
    ecd_guarded_free(&alone);
}

static void check_shape(ecd_check *check, shape s, ecd_dtype dtype, ecd_scale_kind kind, int variant)
{
    size_t weights = (size_t)(s.cols * s.channels), rows = (size_t)(s.pictures * s.rows);
    int64_t x_stride = s.cols + (variant & 1 ? 5 : 0), out_stride = s.channels + (variant & 2 ? 3 : 0);
    ecd_guarded data = ecd_guarded_new(weights * ecd_dtype_size(dtype), 1);
    float *x = malloc(rows * (size_t)x_stride * sizeof *x);
    float *vectors = malloc(((size_t)s.channels + 300) * 4 * sizeof *x);
    encode(check, dtype, weights, data.data);
    ecd_check_fill(check, x, rows * (size_t)x_stride, true);
    ecd_check_fill(check, vectors, ((size_t)s.channels + 300) * 4, false);
    if (variant == 3) {
        x[0] = NAN;
        if (s.rows > 2)
            x[2 * x_stride] = INFINITY;
    }
    ecd_weight w = {dtype, data.data, s.channels, s.cols, kind, kind ? vectors + s.channels : NULL, NULL};
    static const ecd_epilogue epilogues[] = {ECD_EPILOGUE_NONE, ECD_EPILOGUE_GELU_TANH, ECD_EPILOGUE_SILU,
                                             ECD_EPILOGUE_RESIDUAL, ECD_EPILOGUE_QUICK_GELU, ECD_EPILOGUE_MULTIPLY};
    ecd_linear op = {.w = &w, .bias = variant ? vectors : NULL, .pictures = s.pictures, .rows = s.rows,
                     .x_stride = x_stride, .out_stride = out_stride, .out_f32 = variant & 1,
                     .epilogue = epilogues[variant]};
    if (variant == 3 && s.pictures * s.channels < 1000) {
        op.gate = vectors;
        op.gate_rows = s.rows;
        op.gate_stride = s.pictures > 1 ? 7 : 0;
    }
    char what[160];
    snprintf(what, sizeof what, "linear %lldx%lld [%lld, %lld] %s scale %d variant %d", (long long)s.pictures,
             (long long)s.rows, (long long)s.channels, (long long)s.cols, ecd_dtype_name(dtype), (int)kind, variant);
    compare(check, what, op, x);
    ecd_guarded_free(&data);
    free(x);
    free(vectors);
}

void ecd_check_linear(ecd_check *check)
{
    static const shape shapes[] = {{1, 1, 1, 1},     {2, 3, 7, 5},      {3, 17, 130, 33}, {2, 64, 384, 96},
                                   {1, 13, 385, 65}, {2, 150, 257, 31}, {5, 6, 768, 129}, {1, 600, 40, 17}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (ecd_dtype dtype = ECD_F32; dtype <= ECD_E5M2; dtype++)
            for (int variant = 0; variant < 6; variant++)
                check_shape(check, shapes[i], dtype, (ecd_scale_kind)((variant + (int)dtype + (int)i) % 4), variant);
}
