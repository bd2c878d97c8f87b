#include <math.h>

#include "kernels/ref/ref.h"
#include "kernels/shape.h"

static void turn_head(const ecd_rope *op, int64_t token, float *x)
{
    float inverse = 1;
    if (op->gamma) {
        double squares = 0;
        for (int64_t d = 0; d < op->head_dim; d++)
            squares += (double)x[d] * (double)x[d];
        inverse = (float)(1.0 / sqrt(squares / (double)op->head_dim + (double)op->eps));
    }
    const float *cosine = op->cosine + token * op->head_dim / 2, *sine = op->sine + token * op->head_dim / 2;
    for (int64_t i = 0; i < op->head_dim / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        if (op->gamma) {
            a = a * inverse * op->gamma[2 * i];
            b = b * inverse * op->gamma[2 * i + 1];
        }
        x[2 * i] = a * cosine[i] - b * sine[i];
        x[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

void ecd_ref_rope(ecd_backend *be, const ecd_rope *op)
{
    if (!ecd_shape_rope(be, op))
        return;
    int64_t stride = ecd_stride_or(op->stride, op->heads * op->head_dim);
    for (int64_t row = 0; row < op->batch * op->tokens; row++)
        for (int64_t head = 0; head < op->heads; head++)
            turn_head(op, row % op->tokens, (float *)op->x + row * stride + head * op->head_dim);
}
