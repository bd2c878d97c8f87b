#include "dit/transformer/embedding.h"

#include <math.h>

// out[0 .. dim) = [sin(position omega_k) | cos(position omega_k)], in double as diffusers has it.
static void embed_position(double position, int64_t dim, float *out)
{
    int64_t half = dim / 2;
    for (int64_t k = 0; k < half; k++) {
        double omega = 1.0 / pow(10000.0, (double)k / ((double)dim / 2));
        out[k] = (float)sin(position * omega);
        out[half + k] = (float)cos(position * omega);
    }
}

void ecd_embed_grid(int64_t dim, int64_t rows, int64_t cols, double base, double scale, float *out)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++, out += dim) {
            embed_position((double)c / ((double)cols / base) / scale, dim / 2, out);
            embed_position((double)r / ((double)rows / base) / scale, dim / 2, out + dim / 2);
        }
}

void ecd_embed_timestep(float timestep, int64_t dim, float shift, float *out)
{
    int64_t half = dim / 2;
    for (int64_t k = 0; k < half; k++) {
        float exponent = -9.210340371976184f * (float)k / ((float)half - shift); // ln 10000
        float angle = timestep * (float)exp((double)exponent);
        out[k] = (float)cos((double)angle);
        out[half + k] = (float)sin((double)angle);
    }
}

void ecd_embed_rope(const double *places, const int64_t *dims, int axes, double theta, float *cosine, float *sine)
{
    for (int i = 0; i < axes; i++)
        for (int64_t k = 0; k < dims[i] / 2; k++) {
            double angle = places[i] * (1.0 / pow(theta, (double)(2 * k) / (double)dims[i]));
            *cosine++ = (float)cos(angle);
            *sine++ = (float)sin(angle);
        }
}
