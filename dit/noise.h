// Noise equal to torch.randn's of a CPU generator, bit by bit (torch: ATen/native/cpu/DistributionTemplates.h).
#ifndef ECD_DIT_NOISE_H
#define ECD_DIT_NOISE_H

#include <stddef.h>
#include <stdint.h>

// mt19937 as at::CPUGeneratorImpl seeds and draws it, with the cached second normal of its scalar path.
typedef struct ecd_generator {
    uint32_t state[624];
    int next;
    double cached_normal;
    int has_cached;
} ecd_generator;

void ecd_generator_seed(ecd_generator *generator, uint64_t seed);

// out = torch.randn(count, generator=generator): float32, contiguous.
void ecd_generator_normal(ecd_generator *generator, float *out, size_t count);

#endif
