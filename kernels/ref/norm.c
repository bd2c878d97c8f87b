#include <math.h>

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

static void norm_group(const ecd_group_norm *op, int64_t group)
{
    int64_t size = op->channels / op->groups, first = group * size;
    const float *x = op->x;
    float *out = op->out;
    double sum = 0, squares = 0, count = (double)(size * op->pixels);
    for (int64_t p = 0; p < op->pixels; p++)
        for (int64_t c = first; c < first + size; c++)
            sum += (double)x[p * op->channels + c];
    double mean = sum / count;
    for (int64_t p = 0; p < op->pixels; p++)
        for (int64_t c = first; c < first + size; c++)
            squares += ((double)x[p * op->channels + c] - mean) * ((double)x[p * op->channels + c] - mean);
    double inverse = 1.0 / sqrt(squares / count + (double)op->eps);
    for (int64_t p = 0; p < op->pixels; p++)
        for (int64_t c = first; c < first + size; c++) {
            float v = (float)(((double)x[p * op->channels + c] - mean) * inverse);
            v = v * op->gamma[c] + op->beta[c];
            out[p * op->channels + c] = op->silu ? ecd_ref_silu(v) : v;
        }
}

void ecd_ref_group_norm(ecd_backend *be, const ecd_group_norm *op)
{
    if (!ecd_shape_group_norm(be, op))
        return;
    for (int64_t group = 0; group < op->groups; group++)
        norm_group(op, group);
}
