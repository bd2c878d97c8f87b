// What an encoder's architecture is to encoder.c, which computes all of them: internal to text/.
#ifndef ECD_TEXT_ENCODER_INTERNAL_H
#define ECD_TEXT_ENCODER_INTERNAL_H

#include "text/encoder.h"

// The tensors of a block, of those before the first, and after the last.
typedef enum ecd_text_slot {
    ECD_TEXT_NORM1_W,
    ECD_TEXT_NORM1_B,
    ECD_TEXT_Q_W,
    ECD_TEXT_Q_B,
    ECD_TEXT_K_W,
    ECD_TEXT_K_B,
    ECD_TEXT_V_W,
    ECD_TEXT_V_B,
    ECD_TEXT_OUT_W,
    ECD_TEXT_OUT_B,
    ECD_TEXT_NORM2_W,
    ECD_TEXT_NORM2_B,
    ECD_TEXT_FF1_W,
    ECD_TEXT_FF1_B,
    ECD_TEXT_GATE_W, // of a gated feed-forward: activation(FF1 x) * (GATE x)
    ECD_TEXT_FF2_W,
    ECD_TEXT_FF2_B,
    ECD_TEXT_TOKENS,    // [vocab, width]
    ECD_TEXT_POSITIONS, // [max_tokens, width]
    ECD_TEXT_DISTANCES, // [buckets, heads]
    ECD_TEXT_SLOTS
} ecd_text_slot;

typedef struct ecd_text_tensor {
    ecd_text_slot slot;
    const char *name;
    int64_t rows, cols; // cols 0: a vector
} ecd_text_tensor;

enum { ECD_TEXT_MAX_TENSORS = 20, ECD_TEXT_MAX_WIDTH = 1 << 20, ECD_TEXT_MAX_BLOCKS = 4096, ECD_TEXT_PREFIX = 64 };

typedef struct ecd_text_config {
    ecd_encoder_info info;
    int64_t heads, head_dim, wide; // wide: inside the feed-forward
    float eps, scale;              // scale: of the attention's logits
    bool rms, causal;
    ecd_epilogue activation;
    int64_t buckets, max_distance; // of T5's relative positions; 0: none
    int64_t end_id;                // eos_token_id; -1: nothing is pooled
} ecd_text_config;

typedef struct ecd_text_architecture {
    const char *class_name;
    ecd_status (*read_config)(const cJSON *config, ecd_text_config *out, ecd_diag *diag);
    // Each fills tensors[ECD_TEXT_MAX_TENSORS] and returns how many; names follow the prefix.
    int (*list_first)(const ecd_text_config *c, const ecd_checkpoint *cp, ecd_text_tensor *tensors);
    int (*list_block)(const ecd_text_config *c, ecd_text_tensor *tensors);
    int (*list_last)(const ecd_text_config *c, ecd_text_tensor *tensors);
    // The prefix of block i; of what is before (i = -1) and after (i = blocks).
    void (*prefix)(const ecd_text_config *c, const ecd_checkpoint *cp, int i, char out[ECD_TEXT_PREFIX]);
} ecd_text_architecture;

extern const ecd_text_architecture ecd_text_clip, ecd_text_t5;

// The bucket of a key that lies `distance` tokens behind the query (transformers, T5Attention._relative_position_bucket,
// bidirectional).
int64_t ecd_text_bucket(const ecd_text_config *c, int64_t distance);

#endif
