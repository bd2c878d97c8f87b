// Tensors and computation of FLUX's blocks. diffusers: models/transformers/transformer_flux.py (FluxTransformerBlock,
// FluxSingleTransformerBlock, FluxAttention), models/normalization.py (AdaLayerNormZero, AdaLayerNormZeroSingle).
#include <math.h>

#include "dit/transformer/flux.h"
#include "dit/transformer/layers.h"

static const float norm_eps = 1e-6f;
enum { MODULATIONS = 6, SINGLE_MODULATIONS = 3 };

static void matrix(ecd_tensor_spec *t, const char *weight, const char *bias, int64_t rows, int64_t cols)
{
    t[0] = ecd_spec_matrix(weight, rows, cols);
    t[1] = ecd_spec_vector(bias, rows);
}

// A linear layer's two tensors.
#define LINEAR(t, name, rows, cols) matrix(t, name ".weight", name ".bias", rows, cols)

void ecd_flux_spec_ends(const ecd_flux_config *c, ecd_tensor_spec *t)
{
    int64_t d = c->dim;
    LINEAR(t + FLUX_IMAGE_W, "x_embedder", d, c->packed);
    LINEAR(t + FLUX_TEXT_W, "context_embedder", d, c->text_width);
    LINEAR(t + FLUX_TIME1_W, "time_text_embed.timestep_embedder.linear_1", d, FLUX_SINUSOID);
    LINEAR(t + FLUX_TIME2_W, "time_text_embed.timestep_embedder.linear_2", d, d);
    LINEAR(t + FLUX_POOLED1_W, "time_text_embed.text_embedder.linear_1", d, c->pooled_width);
    LINEAR(t + FLUX_POOLED2_W, "time_text_embed.text_embedder.linear_2", d, d);
    LINEAR(t + FLUX_GUIDANCE1_W, "time_text_embed.guidance_embedder.linear_1", d, FLUX_SINUSOID);
    LINEAR(t + FLUX_GUIDANCE2_W, "time_text_embed.guidance_embedder.linear_2", d, d);
    LINEAR(t + FLUX_FINAL_MOD_W, "norm_out.linear", 2 * d, d);
    LINEAR(t + FLUX_FINAL_W, "proj_out", c->packed, d);
}

void ecd_flux_spec_double(const ecd_flux_config *c, ecd_tensor_spec *t)
{
    int64_t d = c->dim, wide = FLUX_FF * d;
    LINEAR(t + FLUX_MOD_W, "norm1.linear", MODULATIONS * d, d);
    LINEAR(t + FLUX_Q_W, "attn.to_q", d, d);
    LINEAR(t + FLUX_K_W, "attn.to_k", d, d);
    LINEAR(t + FLUX_V_W, "attn.to_v", d, d);
    LINEAR(t + FLUX_OUT_W, "attn.to_out.0", d, d);
    LINEAR(t + FLUX_FF1_W, "ff.net.0.proj", wide, d);
    LINEAR(t + FLUX_FF2_W, "ff.net.2", d, wide);
    t[FLUX_NORM_Q] = ecd_spec_vector("attn.norm_q.weight", c->head_dim);
    t[FLUX_NORM_K] = ecd_spec_vector("attn.norm_k.weight", c->head_dim);
    t += FLUX_STREAM;
    LINEAR(t + FLUX_MOD_W, "norm1_context.linear", MODULATIONS * d, d);
    LINEAR(t + FLUX_Q_W, "attn.add_q_proj", d, d);
    LINEAR(t + FLUX_K_W, "attn.add_k_proj", d, d);
    LINEAR(t + FLUX_V_W, "attn.add_v_proj", d, d);
    LINEAR(t + FLUX_OUT_W, "attn.to_add_out", d, d);
    LINEAR(t + FLUX_FF1_W, "ff_context.net.0.proj", wide, d);
    LINEAR(t + FLUX_FF2_W, "ff_context.net.2", d, wide);
    t[FLUX_NORM_Q] = ecd_spec_vector("attn.norm_added_q.weight", c->head_dim);
    t[FLUX_NORM_K] = ecd_spec_vector("attn.norm_added_k.weight", c->head_dim);
}

void ecd_flux_spec_single(const ecd_flux_config *c, ecd_tensor_spec *t)
{
    int64_t d = c->dim;
    LINEAR(t + FLUX_S_MOD_W, "norm.linear", SINGLE_MODULATIONS * d, d);
    LINEAR(t + FLUX_S_Q_W, "attn.to_q", d, d);
    LINEAR(t + FLUX_S_K_W, "attn.to_k", d, d);
    LINEAR(t + FLUX_S_V_W, "attn.to_v", d, d);
    LINEAR(t + FLUX_S_MLP_W, "proj_mlp", FLUX_FF * d, d);
    LINEAR(t + FLUX_S_OUT_W, "proj_out", d, (FLUX_FF + 1) * d);
    t[FLUX_S_NORM_Q] = ecd_spec_vector("attn.norm_q.weight", c->head_dim);
    t[FLUX_S_NORM_K] = ecd_spec_vector("attn.norm_k.weight", c->head_dim);
}

void *ecd_flux_act(const ecd_flux *m, void *base, int64_t elements)
{
    return (char *)base + (size_t)elements * m->base.be->act_bytes;
}

void ecd_flux_modulate(ecd_flux *m, int64_t pictures, int64_t rows, const float *x, const float *shift,
                       const float *scale, int64_t stride)
{
    const ecd_layer_modulation by = {shift, scale, rows, stride};
    ecd_layer_modulate(m->base.be, x, pictures * rows, m->c.dim, norm_eps, by, m->hidden);
}

// Norms and turns queries or keys of `rows` tokens that begin at token `first`.
static void turn(ecd_flux *m, void *x, int64_t pictures, int64_t first, int64_t rows, const float *gamma)
{
    int64_t half = m->c.head_dim / 2;
    ecd_rope op = {.x = x,
                   .batch = pictures,
                   .tokens = rows,
                   .heads = m->c.heads,
                   .head_dim = m->c.head_dim,
                   .cosine = m->cosine + first * half,
                   .sine = m->sine + first * half,
                   .gamma = gamma,
                   .eps = norm_eps};
    m->base.be->ops->rope(m->base.be, &op);
}

static void attend(ecd_flux *m, int64_t pictures, void *out, int64_t out_stride)
{
    ecd_attention op = {.batch = pictures,
                        .heads = m->c.heads,
                        .head_dim = m->c.head_dim,
                        .q_tokens = m->tokens,
                        .kv_tokens = m->tokens,
                        .q = m->q,
                        .k = m->k,
                        .v = m->v,
                        .out = out,
                        .out_stride = out_stride,
                        .scale = (float)(1 / sqrt((double)m->c.head_dim))};
    m->base.be->ops->attention(m->base.be, &op);
}

// One stream's queries, keys and values to their place among the tokens. A picture at a time: its rows do not
// follow the last one's.
static void project(ecd_flux *m, const ecd_block *b, int part, int64_t pictures, int64_t first, int64_t rows)
{
    int64_t d = m->c.dim;
    for (int64_t p = 0; p < pictures; p++) {
        const int64_t at = (p * m->tokens + first) * d;
        void *const to[3] = {ecd_flux_act(m, m->q, at), ecd_flux_act(m, m->k, at), ecd_flux_act(m, m->v, at)};
        ecd_layer_qkv(m->base.be, b, part + FLUX_Q_W, 1, rows, ecd_flux_act(m, m->hidden, p * rows * d), to);
        for (int i = 0; i < 2; i++)
            turn(m, to[i], 1, first, rows, b->vectors[part + FLUX_NORM_Q + i]);
    }
}

void ecd_flux_run_double(ecd_flux *m, const ecd_block *b, int64_t pictures)
{
    const int64_t d = m->c.dim, stride = MODULATIONS * d;
    const int64_t rows[2] = {m->image, m->text}, first[2] = {m->text, 0};
    for (int s = 0; s < 2; s++) {
        float *mod = m->mod + s * pictures * stride;
        ecd_layer_linear(m->base.be, b, s * FLUX_STREAM + FLUX_MOD_W, pictures, 1, m->condition_act, ECD_EPILOGUE_NONE,
                         true, mod);
        ecd_flux_modulate(m, pictures, rows[s], m->stream[s], mod, mod + d, stride);
        project(m, b, s * FLUX_STREAM, pictures, first[s], rows[s]);
    }
    attend(m, pictures, m->hidden, 0);
    for (int s = 0; s < 2; s++)
        for (int64_t p = 0; p < pictures; p++)
            ecd_layer_gated(m->base.be, b, s * FLUX_STREAM + FLUX_OUT_W, 1, rows[s],
                            ecd_flux_act(m, m->hidden, (p * m->tokens + first[s]) * d), m->stream[s] + p * rows[s] * d,
                            m->mod + (s * pictures + p) * stride + 2 * d, rows[s], stride);
    for (int s = 0; s < 2; s++) {
        const float *mod = m->mod + s * pictures * stride;
        ecd_flux_modulate(m, pictures, rows[s], m->stream[s], mod + 3 * d, mod + 4 * d, stride);
        ecd_layer_linear(m->base.be, b, s * FLUX_STREAM + FLUX_FF1_W, pictures, rows[s], m->hidden,
                         ECD_EPILOGUE_GELU_TANH, false, m->wide);
        ecd_layer_gated(m->base.be, b, s * FLUX_STREAM + FLUX_FF2_W, pictures, rows[s], m->wide, m->stream[s],
                        mod + 5 * d, rows[s], stride);
    }
}

void ecd_flux_run_single(ecd_flux *m, const ecd_block *b, int64_t pictures)
{
    const int64_t d = m->c.dim, stride = SINGLE_MODULATIONS * d, rows = m->tokens, wide = (FLUX_FF + 1) * d;
    ecd_layer_linear(m->base.be, b, FLUX_S_MOD_W, pictures, 1, m->condition_act, ECD_EPILOGUE_NONE, true, m->mod);
    ecd_flux_modulate(m, pictures, rows, m->joint, m->mod, m->mod + d, stride);
    void *const to[3] = {m->q, m->k, m->v};
    ecd_layer_qkv(m->base.be, b, FLUX_S_Q_W, pictures, rows, m->hidden, to);
    turn(m, m->q, pictures, 0, rows, b->vectors[FLUX_S_NORM_Q]);
    turn(m, m->k, pictures, 0, rows, b->vectors[FLUX_S_NORM_K]);
    // proj_out takes attention and feed-forward side by side.
    attend(m, pictures, m->wide, wide);
    ecd_linear mlp = {.w = &b->weights[FLUX_S_MLP_W],
                      .bias = b->vectors[FLUX_S_MLP_B],
                      .pictures = pictures,
                      .rows = rows,
                      .x = m->hidden,
                      .out = ecd_flux_act(m, m->wide, d),
                      .out_stride = wide,
                      .epilogue = ECD_EPILOGUE_GELU_TANH,
                      .x_again = true};
    m->base.be->ops->linear(m->base.be, &mlp);
    ecd_layer_gated(m->base.be, b, FLUX_S_OUT_W, pictures, rows, m->wide, m->joint, m->mod + 2 * d, rows, stride);
}
