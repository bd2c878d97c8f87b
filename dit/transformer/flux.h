// FLUX.1: what flux.c (opening, a step) and flux_blocks.c (tensors and computation of blocks) share.
#ifndef ECD_DIT_TRANSFORMER_FLUX_H
#define ECD_DIT_TRANSFORMER_FLUX_H

#include "base/arena.h"
#include "dit/transformer/architecture.h"

enum { FLUX_SINUSOID = 256, FLUX_FF = 4, FLUX_AXES = 3, FLUX_PATCH = 2 };

// The resident block. A matrix is followed by its bias, in all three lists.
enum {
    FLUX_IMAGE_W, FLUX_IMAGE_B,
    FLUX_TEXT_W, FLUX_TEXT_B,
    FLUX_TIME1_W, FLUX_TIME1_B,
    FLUX_TIME2_W, FLUX_TIME2_B,
    FLUX_POOLED1_W, FLUX_POOLED1_B,
    FLUX_POOLED2_W, FLUX_POOLED2_B,
    FLUX_FINAL_MOD_W, FLUX_FINAL_MOD_B,
    FLUX_FINAL_W, FLUX_FINAL_B,
    FLUX_GUIDANCE1_W, FLUX_GUIDANCE1_B, // of models with guidance_embeds
    FLUX_GUIDANCE2_W, FLUX_GUIDANCE2_B,
    FLUX_ENDS
};

// One stream's part of a double block; a double block is the picture's, then the text's.
enum {
    FLUX_MOD_W, FLUX_MOD_B,
    FLUX_Q_W, FLUX_Q_B,
    FLUX_K_W, FLUX_K_B,
    FLUX_V_W, FLUX_V_B,
    FLUX_OUT_W, FLUX_OUT_B,
    FLUX_FF1_W, FLUX_FF1_B,
    FLUX_FF2_W, FLUX_FF2_B,
    FLUX_NORM_Q, FLUX_NORM_K,
    FLUX_STREAM
};
enum { FLUX_DOUBLE = 2 * FLUX_STREAM };

enum {
    FLUX_S_MOD_W, FLUX_S_MOD_B,
    FLUX_S_Q_W, FLUX_S_Q_B,
    FLUX_S_K_W, FLUX_S_K_B,
    FLUX_S_V_W, FLUX_S_V_B,
    FLUX_S_MLP_W, FLUX_S_MLP_B,
    FLUX_S_OUT_W, FLUX_S_OUT_B,
    FLUX_S_NORM_Q, FLUX_S_NORM_K,
    FLUX_SINGLE
};

typedef struct ecd_flux_config {
    int64_t heads, head_dim, dim, doubles, singles, text_width, pooled_width;
    int64_t packed;          // channels of a token: in_channels of the config
    int64_t axes[FLUX_AXES]; // channels of a head that turn by the text's place (always 0), the row, the column
    bool guidance;
} ecd_flux_config;

// Tokens of a picture: the text's, then the picture's.
typedef struct ecd_flux {
    ecd_transformer base;
    ecd_flux_config c;
    int64_t pictures, text, image, tokens; // most pictures; tokens of a picture
    void *patches;                         // act [image, packed]
    void *context_act;
    void *pooled_act;
    float *cosine, *sine;         // [tokens, head_dim / 2], one for all pictures
    float *stream[2];             // [image, dim] and [text, dim] in double blocks
    float *joint;                 // [tokens, dim] in single ones; the streams lie in other memory
    void *hidden;                 // act [tokens, dim]
    void *q, *k, *v;              // act [tokens, dim]
    void *wide;                   // act [tokens, 5 dim]: attention beside the feed-forward's inside
    float *sinusoid, *condition;  // [FLUX_SINUSOID], one for all; [dim] a picture
    void *sinusoid_act, *embedded; // act; [dim] a picture
    void *condition_act;          // act [dim] a picture, SiLU applied
    float *mod;                   // [12 dim] a picture: the picture's six vectors, then the text's
    float *out_tokens;            // [image, packed] a picture
} ecd_flux;

void ecd_flux_spec_ends(const ecd_flux_config *c, ecd_tensor_spec *t);
void ecd_flux_spec_double(const ecd_flux_config *c, ecd_tensor_spec *t);
void ecd_flux_spec_single(const ecd_flux_config *c, ecd_tensor_spec *t);

// hidden := LayerNorm(x) (1 + scale) + shift, `rows` rows a picture.
void ecd_flux_modulate(ecd_flux *m, int64_t pictures, int64_t rows, const float *x, const float *shift,
                       const float *scale, int64_t stride);
void *ecd_flux_act(const ecd_flux *m, void *base, int64_t elements); // base + elements activations

void ecd_flux_run_double(ecd_flux *m, const ecd_block *b, int64_t pictures);
void ecd_flux_run_single(ecd_flux *m, const ecd_block *b, int64_t pictures);

#endif
