// Kernels of the emulator's own test: sound ones, and one for each fault that it must find.
#ifndef ECD_CUDA_EMU_SINS_H
#define ECD_CUDA_EMU_SINS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Sound kernels; `out` is device memory.
void sound_sum(const float *in, float *out, unsigned count);             // out[block] is the sum of 256 floats
void sound_scan(const uint32_t *in, uint32_t *out, unsigned warps);      // inclusive sums within warps of 32
void sound_transpose(const uint32_t *in, uint32_t *out, unsigned edge);  // by tiles of 32 x 32 in dynamic shared memory
void sound_ring(const uint32_t *in, uint32_t *out, unsigned words);      // a copy by cp.async in two stages; words % 1024 == 0
void sound_bulk(const uint32_t *in, uint32_t *out, unsigned words);      // the same by bulk copies
void sound_histogram(const uint8_t *in, uint32_t *out, unsigned count);  // 256 counts by atomics
void sound_votes(uint32_t *out);                                         // [32][8] of each lane's votes and shuffles
void sound_product(const uint16_t *a, const uint16_t *b, float *d);      // 16x16 times 16x8, BF16 (b: [8][16])
void sound_product_tf32(const float *a, const float *b, float *d);       // 16x8 times 8x8 (b: [8 columns][8])
void sound_matrices(const uint16_t *in, uint32_t *plain, uint32_t *transposed); // four 8x8 matrices, [32][4] each
void sound_numbers(const float *in, uint32_t *packed, float *powers); // [32]: (x, -x) as BF16, 2^x

void sound_add(uint32_t *out, uint32_t by, void *stream); // to each of 32 words

typedef enum sin_kind {
    SIN_READ_BEHIND_DEVICE,
    SIN_READ_BEFORE_DEVICE,
    SIN_WRITE_BEHIND_DEVICE,
    SIN_READ_FREED_OR_HOST,
    SIN_READ_BEHIND_DYNAMIC_SHARED,
    SIN_INDEX_BEHIND_STATIC_SHARED,
    SIN_MISALIGNED_VECTOR_LOAD,
    SIN_MISALIGNED_VECTOR_STORE,
    SIN_MISALIGNED_COPY,
    SIN_MISSED_BARRIER_BY_EXIT,
    SIN_MISSED_BARRIER_BY_BRANCH,
    SIN_DIVERGENT_SHUFFLE,
    SIN_LANE_NOT_IN_MASK,
    SIN_SHUFFLE_FROM_ABSENT_LANE,
    SIN_NO_BARRIER,
    SIN_NO_WARP_BARRIER,
    SIN_BLOCKS_RACE,
    SIN_COPY_NOT_WAITED_FOR,
    SIN_COPY_SEEN_WITHOUT_BARRIER,
    SIN_MMA_IN_HALF_A_WARP,
    SIN_OTHER_THREADS_LOCAL,
    SIN_BULK_SIZE,
    SIN_BULK_MISALIGNED,
    SIN_BULK_OUTSIDE,
    SIN_BULK_TOO_FEW_EXPECTED,
    SIN_BULK_TOO_MANY_EXPECTED,
    SIN_BULK_READ_BEFORE_WAIT,
    SIN_BULK_WRONG_PARITY,
    SIN_BULK_OVER_READERS,
    SIN_BULK_NOT_WAITED_FOR,
    SIN_BULK_ARRIVED_TWICE,
    SIN_MBARRIER_MISSING,
    SIN_MBARRIER_NOT_SEEN,
    SIN_TOO_MUCH_SHARED,
    SIN_TOO_MANY_THREADS,
    SIN_KINDS,
} sin_kind;

// Commits it on `device` of 1024 words, whose contents do not matter. `host` is not device memory.
void sin_commit(sin_kind kind, uint32_t *device, uint32_t *host);

#ifdef __cplusplus
}
#endif

#endif
