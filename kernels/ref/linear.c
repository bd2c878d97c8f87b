#include <math.h>
#include <stdlib.h>

#include "kernels/coded.h"
#include "kernels/ref/ref.h"
#include "kernels/shape.h"

// Output channels whose sums run side by side: the order within each sum stays that of the input channels, and the
// compiler is free to hold the sums in one vector.
enum { SLICE = 16 };

float ecd_ref_silu(float v)
{
    return (float)((double)v / (1.0 + exp(-(double)v)));
}

float ecd_ref_gelu_tanh(float v)
{
    double x = (double)v;
    double inner = 0.79788456080286535588 * (x + 0.044715 * x * x * x); // sqrt(2/pi)
    return (float)(0.5 * x * (1.0 + tanh(inner)));
}

float ecd_ref_quick_gelu(float v)
{
    return (float)((double)v / (1.0 + exp(-1.702 * (double)v)));
}

void ecd_ref_widen_row(const ecd_weight *w, int64_t row, float *out)
{
    const char *data = w->data;
    ecd_to_f32(w->dtype, data + (size_t)(row * w->cols) * ecd_dtype_size(w->dtype), out, (size_t)w->cols);
    if (w->scale_kind != ECD_SCALE_BLOCK)
        return;
    int64_t blocks = (w->cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE;
    const float *scale = w->scale + row / ECD_SCALE_BLOCK_SIZE * blocks;
    for (int64_t k = 0; k < w->cols; k++)
        out[k] *= scale[k / ECD_SCALE_BLOCK_SIZE];
}

// slice[k][j] = weight (first + j, k); channels past the last are zero.
static void widen_slice(const ecd_weight *w, int64_t first, float *row, float (*slice)[SLICE])
{
    for (int64_t j = 0; j < SLICE; j++) {
        bool real = first + j < w->rows;
        if (real)
            ecd_ref_widen_row(w, first + j, row);
        for (int64_t k = 0; k < w->cols; k++)
            slice[k][j] = real ? row[k] : 0.0f;
    }
}

static void store(const ecd_linear *op, int64_t row, int64_t channel, float v)
{
    int64_t stride = ecd_stride_or(op->out_stride, op->w->rows);
    float *out = (float *)op->out + row * stride + channel;
    switch (op->epilogue) {
    case ECD_EPILOGUE_NONE: *out = v; break;
    case ECD_EPILOGUE_GELU_TANH: *out = ecd_ref_gelu_tanh(v); break;
    case ECD_EPILOGUE_SILU: *out = ecd_ref_silu(v); break;
    case ECD_EPILOGUE_QUICK_GELU: *out = ecd_ref_quick_gelu(v); break;
    case ECD_EPILOGUE_MULTIPLY: *out *= v; break;
    case ECD_EPILOGUE_COUNT: break;
    case ECD_EPILOGUE_RESIDUAL:
        *out += op->gate ? op->gate[row / op->gate_rows * op->gate_stride + channel] * v : v;
        break;
    }
}

static void multiply_row(const ecd_linear *op, int64_t row, int64_t first, float (*slice)[SLICE])
{
    const float *x = (const float *)op->x + row * ecd_stride_or(op->x_stride, op->w->cols);
    float sum[SLICE] = {0};
    for (int64_t k = 0; k < op->w->cols; k++)
        for (int j = 0; j < SLICE; j++)
            sum[j] += x[k] * slice[k][j];
    for (int64_t j = 0; j < SLICE && first + j < op->w->rows; j++) {
        float v = sum[j] * ecd_weight_row_scale(op->w, first + j);
        store(op, row, first + j, op->bias ? v + op->bias[first + j] : v);
    }
}

static void multiply(ecd_backend *be, const ecd_linear *op)
{
    size_t cols = (size_t)op->w->cols;
    float *scratch = malloc(cols * (SLICE + 1) * sizeof *scratch);
    if (!scratch) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a slice of %zu input channels", cols);
        return;
    }
    float(*slice)[SLICE] = (float(*)[SLICE])scratch;
    for (int64_t first = 0; first < op->w->rows; first += SLICE) {
        widen_slice(op->w, first, scratch + cols * SLICE, slice);
        for (int64_t row = 0; row < op->pictures * op->rows; row++)
            multiply_row(op, row, first, slice);
    }
    free(scratch);
}

void ecd_ref_linear(ecd_backend *be, const ecd_linear *op)
{
    ecd_weight elements;
    void *memory;
    if (!ecd_shape_linear(be, op))
        return;
    if (ecd_coded_expand(be, op->w, &elements, &memory)) {
        ecd_linear expanded = *op;
        expanded.w = &elements;
        multiply(be, &expanded);
    }
    free(memory);
}

static void add_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out)
{
    float *row = malloc((size_t)table->cols * sizeof *row);
    if (!row) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a row of %lld channels", (long long)table->cols);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        ecd_ref_widen_row(table, ids[i], row);
        for (int64_t k = 0; k < table->cols; k++)
            out[i * table->cols + k] += row[k] * ecd_weight_row_scale(table, ids[i]);
    }
    free(row);
}

void ecd_ref_add_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out)
{
    ecd_weight elements;
    void *memory;
    if (!ecd_shape_rows(be, table, ids, count))
        return;
    if (ecd_coded_expand(be, table, &elements, &memory))
        add_rows(be, &elements, ids, count, out);
    free(memory);
}
