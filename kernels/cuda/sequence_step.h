// One operation of a sequence, with its arguments.
#ifndef ECD_KERNELS_CUDA_SEQUENCE_STEP_H
#define ECD_KERNELS_CUDA_SEQUENCE_STEP_H

#include "kernels/backend.h"

typedef enum ecd_cuda_step_kind {
    ECD_CUDA_LINEAR,
    ECD_CUDA_NORM,
    ECD_CUDA_ATTENTION,
    ECD_CUDA_ROPE,
    ECD_CUDA_TO_ACT,
    ECD_CUDA_TO_F32,
    ECD_CUDA_COPY,
} ecd_cuda_step_kind;

typedef struct ecd_cuda_move {
    const void *from;
    void *to;
    int64_t count; // elements; bytes of a copy
    bool silu;
} ecd_cuda_move;

typedef struct ecd_cuda_step {
    ecd_cuda_step_kind kind;
    union {
        struct {
            ecd_linear op; // but for w
            ecd_weight weight;
        } linear;
        ecd_norm norm;
        ecd_attention attention;
        ecd_rope rope;
        ecd_cuda_move move;
    } of;
} ecd_cuda_step;

enum { ECD_CUDA_STEP_WORDS = 24 }; // more than any operation has arguments

void ecd_cuda_step_queue(ecd_backend *be, ecd_cuda_step *s);

// All of its arguments as words, which compare without a structure's padding. Returns what follows the last.
uint64_t *ecd_cuda_step_spell(const ecd_cuda_step *s, uint64_t *words);

#endif
