#include "kernels/cpu/layout.h"

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"
#include "kernels/shape.h"

static void put(const ecd_backend *be, void *out, int64_t at, float v)
{
    if (be->act_bytes == 2)
        ((uint16_t *)out)[at] = ecd_to_bf16(v);
    else
        ((float *)out)[at] = v;
}

void ecd_cpu_patchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                      int patch, void *out)
{
    if (!ecd_shape_patches(be, batch, channels, height, width, patch))
        return;
    int64_t at = 0;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t y = 0; y < height; y += patch)
            for (int64_t left = 0; left < width; left += patch)
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t i = 0; i < patch; i++)
                        for (int64_t k = 0; k < patch; k++)
                            put(be, out, at++, x[((b * channels + c) * height + y + i) * width + left + k]);
}

// What moves f32 to f32 is the reference's code.
void ecd_cpu_unpatchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height,
                        int64_t width, int patch, bool channels_first, float *out)
{
    ecd_ref_unpatchify(be, x, batch, channels, height, width, patch, channels_first, out);
}

void ecd_cpu_to_channels_last(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out)
{
    for (int64_t p = 0; ecd_backend_ok(be) && p < pixels; p++)
        for (int64_t c = 0; c < channels; c++)
            put(be, out, p * channels + c, x[c * pixels + p]);
}

void ecd_cpu_to_channels_first(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out)
{
    ecd_ref_to_channels_first(be, x, channels, pixels, out);
}
