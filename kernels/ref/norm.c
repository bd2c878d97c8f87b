#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "kernels/shape.h"

static void norm_row(const ecd_norm *op, int64_t row)
{
    const float *x = op->x + row * op->cols;
    float *out = (float *)op->out + row * op->cols;
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < op->cols; c++)
        sum += (double)x[c];
    double mean = op->rms ? 0 : sum / (double)op->cols;
    for (int64_t c = 0; c < op->cols; c++)
        squares += ((double)x[c] - mean) * ((double)x[c] - mean);
    double inverse = 1.0 / sqrt(squares / (double)op->cols + (double)op->eps);
    int64_t group = op->group_rows ? row / op->group_rows : 0;
    for (int64_t c = 0; c < op->cols; c++) {
        float v = (float)(((double)x[c] - mean) * inverse);
        if (op->gamma)
            v = v * op->gamma[c];
        if (op->beta)
            v = v + op->beta[c];
        if (op->scale)
            v = v * (1.0f + op->scale[group * op->mod_stride + c]);
        if (op->shift)
            v = v + op->shift[group * op->mod_stride + c];
        out[c] = v;
    }
}

void ecd_ref_norm(ecd_backend *be, const ecd_norm *op)
{
    if (!ecd_shape_norm(be, op))
        return;
    for (int64_t row = 0; row < op->rows; row++)
        norm_row(op, row);
}

// [channels] pairs of the group's mean and 1 / standard deviation.
static void measure_group(const ecd_group_norm *op, int64_t group, double *pairs)
{
    int64_t size = op->channels / op->groups, first = group * size, stride = ecd_stride_or(op->x_stride, op->channels);
    const float *x = op->x;
    double sum = 0, squares = 0, count = (double)(size * op->pixels);
    for (int64_t p = 0; p < op->pixels; p++)
        for (int64_t c = first; c < first + size; c++)
            sum += (double)x[p * stride + c];
    double mean = sum / count;
    for (int64_t p = 0; p < op->pixels; p++)
        for (int64_t c = first; c < first + size; c++)
            squares += ((double)x[p * stride + c] - mean) * ((double)x[p * stride + c] - mean);
    double inverse = 1.0 / sqrt(squares / count + (double)op->eps);
    for (int64_t c = first; c < first + size; c++) {
        pairs[2 * c] = mean;
        pairs[2 * c + 1] = inverse;
    }
}

void ecd_ref_group_apply(const ecd_group_norm *op, int64_t channels, const float *pixel, float *out)
{
    const double *pairs = op->measured;
    for (int64_t c = 0; c < channels; c++) {
        float v = (float)(((double)pixel[c] - pairs[2 * c]) * pairs[2 * c + 1]);
        v = v * op->gamma[c] + op->beta[c];
        out[c] = op->silu ? ecd_ref_silu(v) : v;
    }
}

void ecd_ref_group_measure(ecd_backend *be, const ecd_group_norm *op)
{
    if (!ecd_shape_group_norm(be, op))
        return;
    for (int64_t group = 0; group < op->groups; group++)
        measure_group(op, group, op->measured);
}

void ecd_ref_group_norm(ecd_backend *be, const ecd_group_norm *op)
{
    if (!ecd_shape_group_norm(be, op))
        return;
    ecd_group_norm own = *op;
    own.measured = malloc((size_t)op->channels * ECD_MEASURED_BYTES);
    if (!own.measured) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: statistics of %lld channels", (long long)op->channels);
        return;
    }
    ecd_ref_group_measure(be, &own);
    int64_t stride = ecd_stride_or(op->x_stride, op->channels);
    for (int64_t p = 0; p < op->pixels; p++)
        ecd_ref_group_apply(&own, op->channels, (const float *)op->x + p * stride,
                            (float *)op->out + p * op->channels);
    free(own.measured);
}
