// What becomes of latents and pictures element by element.
#include <math.h>

#include "kernels/ref/ref.h"
#include "kernels/shape.h"

void ecd_ref_combine(ecd_backend *be, const ecd_combine *op)
{
    if (!ecd_shape_combine(be, op))
        return;
    float limit = op->limit;
    for (int64_t i = 0; i < op->count; i++) {
        float v = op->by[0] * op->x[0][i];
        for (int t = 1; t < op->terms; t++)
            v = v + op->by[t] * op->x[t][i];
        v = op->divisor == 1 ? v : v / op->divisor;
        v = op->offset == 0 ? v : v + op->offset;
        if (limit > 0)
            v = v < -limit ? -limit : v > limit ? limit : v;
        op->out[i] = v;
    }
}

void ecd_ref_to_bytes(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out)
{
    if (!ecd_shape_pixels(be, channels, pixels))
        return;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < channels; c++) {
            float v = x[c * pixels + i] / 2 + 0.5f;
            v = v > 0 ? v : 0;
            v = v < 1 ? v : 1;
            out[channels * i + c] = (uint8_t)rintf(v * 255);
        }
}
