// Changes of layout on the CPU; the same for every level. See kernels/backend.h.
#ifndef ECD_KERNELS_CPU_LAYOUT_H
#define ECD_KERNELS_CPU_LAYOUT_H

#include "kernels/backend.h"

void ecd_cpu_patchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                      int patch, void *out);
void ecd_cpu_unpatchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height,
                        int64_t width, int patch, bool channels_first, float *out);
void ecd_cpu_to_channels_last(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out);
void ecd_cpu_to_channels_first(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out);

#endif
