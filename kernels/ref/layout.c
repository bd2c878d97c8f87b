#include <string.h>

#include "kernels/ref/ref.h"
#include "kernels/shape.h"

void ecd_ref_to_act(ecd_backend *be, const float *x, int64_t count, bool silu, void *out)
{
    float *to = out;
    for (int64_t i = 0; ecd_backend_ok(be) && i < count; i++)
        to[i] = silu ? ecd_ref_silu(x[i]) : x[i];
}

void ecd_ref_to_f32(ecd_backend *be, const void *x, int64_t count, float *out)
{
    if (ecd_backend_ok(be) && count > 0)
        memmove(out, x, (size_t)count * sizeof *out);
}

void ecd_ref_patchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                      int patch, void *out)
{
    if (!ecd_shape_patches(be, batch, channels, height, width, patch))
        return;
    float *to = out;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t y = 0; y < height; y += patch)
            for (int64_t left = 0; left < width; left += patch)
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t i = 0; i < patch; i++)
                        for (int64_t j = 0; j < patch; j++)
                            *to++ = x[((b * channels + c) * height + y + i) * width + left + j];
}

void ecd_ref_unpatchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height,
                        int64_t width, int patch, bool channels_first, float *out)
{
    if (!ecd_shape_patches(be, batch, channels, height, width, patch))
        return;
    const int64_t area = (int64_t)patch * patch, step = channels_first ? area : 1, along = channels_first ? 1 : channels;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t y = 0; y < height; y += patch)
            for (int64_t left = 0; left < width; left += patch, x += area * channels)
                for (int64_t i = 0; i < patch; i++)
                    for (int64_t j = 0; j < patch; j++)
                        for (int64_t c = 0; c < channels; c++)
                            out[((b * channels + c) * height + y + i) * width + left + j] =
                                x[(i * patch + j) * along + c * step];
}

void ecd_ref_to_channels_last(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out)
{
    for (int64_t p = 0; ecd_backend_ok(be) && p < pixels; p++)
        for (int64_t c = 0; c < channels; c++)
            ((float *)out)[p * channels + c] = x[c * pixels + p];
}

void ecd_ref_to_channels_first(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out)
{
    for (int64_t c = 0; ecd_backend_ok(be) && c < channels; c++)
        for (int64_t p = 0; p < pixels; p++)
            out[c * pixels + p] = x[p * channels + c];
}
