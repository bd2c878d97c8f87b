// The tensors of diffusers' FluxTransformer2DModel (models/transformers/transformer_flux.py) and of its text encoders,
// transformers' CLIPTextModel and T5EncoderModel, by name and shape, in the order of their state_dict.
#include <stdio.h>

#include "app/synthetic_internal.h"

enum { SINUSOID = 256, PATCH = 4, CLIP_PLACES = 77, T5_BUCKETS = 32, FF = 4 };

static const float MODULATION = 0.5F; // their gain, and of what goes back into the residual stream

static ecd_synthetic_tensor matrix(int64_t out, int64_t in)
{
    return ecd_synthetic_matrix(out, in, 1);
}

static void add_embedders(const ecd_synthetic_model *m, int64_t d, ecd_synthetic_list *list)
{
    static const char *const names[] = {"timestep_embedder", "guidance_embedder", "text_embedder"};
    for (int i = 0; i < 3; i++) {
        int64_t in = i < 2 ? (int64_t)SINUSOID : m->flux->clip_width;
        ecd_synthetic_add(list, matrix(d, in), true, "time_text_embed.%s.linear_1", names[i]);
        ecd_synthetic_add(list, matrix(d, d), true, "time_text_embed.%s.linear_2", names[i]);
    }
    ecd_synthetic_add(list, matrix(d, m->flux->t5_width), true, "context_embedder");
    ecd_synthetic_add(list, matrix(d, m->latents * PATCH), true, "x_embedder");
}

static void add_double(const ecd_synthetic_model *m, int64_t d, int i, ecd_synthetic_list *list)
{
    static const char *const norms[] = {"norm_q", "norm_k", "norm_added_q", "norm_added_k"};
    static const char *const linears[] = {"to_q",       "to_k",       "to_v",       "to_out.0",
                                          "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"};
    static const char *const suffixes[] = {"", "_context"};
    for (int k = 0; k < 2; k++)
        ecd_synthetic_add(list, ecd_synthetic_matrix(6 * d, d, MODULATION), true,
                          "transformer_blocks.%d.norm1%s.linear", i, suffixes[k]);
    for (int k = 0; k < 4; k++)
        ecd_synthetic_add(list, ecd_synthetic_vector(m->head_dim), false, "transformer_blocks.%d.attn.%s", i, norms[k]);
    for (int k = 0; k < 8; k++)
        ecd_synthetic_add(list, matrix(d, d), true, "transformer_blocks.%d.attn.%s", i, linears[k]);
    for (int k = 0; k < 2; k++) {
        ecd_synthetic_add(list, matrix(FF * d, d), true, "transformer_blocks.%d.ff%s.net.0.proj", i, suffixes[k]);
        ecd_synthetic_add(list, matrix(d, FF * d), true, "transformer_blocks.%d.ff%s.net.2", i, suffixes[k]);
    }
}

static void add_single(const ecd_synthetic_model *m, int64_t d, int i, ecd_synthetic_list *list)
{
    static const char *const linears[] = {"to_q", "to_k", "to_v"};
    ecd_synthetic_add(list, ecd_synthetic_matrix(3 * d, d, MODULATION), true,
                      "single_transformer_blocks.%d.norm.linear", i);
    ecd_synthetic_add(list, matrix(FF * d, d), true, "single_transformer_blocks.%d.proj_mlp", i);
    ecd_synthetic_add(list, matrix(d, (FF + 1) * d), true, "single_transformer_blocks.%d.proj_out", i);
    ecd_synthetic_add(list, ecd_synthetic_vector(m->head_dim), false, "single_transformer_blocks.%d.attn.norm_q", i);
    ecd_synthetic_add(list, ecd_synthetic_vector(m->head_dim), false, "single_transformer_blocks.%d.attn.norm_k", i);
    for (int k = 0; k < 3; k++)
        ecd_synthetic_add(list, matrix(d, d), true, "single_transformer_blocks.%d.attn.%s", i, linears[k]);
}

void ecd_synthetic_list_flux(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    int64_t d = m->heads * m->head_dim;
    add_embedders(m, d, list);
    for (int i = 0; i < m->layers; i++)
        add_double(m, d, i, list);
    for (int i = 0; i < m->flux->singles; i++)
        add_single(m, d, i, list);
    ecd_synthetic_add(list, ecd_synthetic_matrix(2 * d, d, MODULATION), true, "norm_out.linear");
    ecd_synthetic_add(list, matrix(m->latents * PATCH, d), true, "proj_out");
}

void ecd_synthetic_list_clip(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    static const char *const linears[] = {"k_proj", "v_proj", "q_proj", "out_proj"};
    int64_t d = m->flux->clip_width;
    ecd_synthetic_add(list, matrix(m->flux->clip_vocab, d), false, "text_model.embeddings.token_embedding");
    ecd_synthetic_add(list, matrix(CLIP_PLACES, d), false, "text_model.embeddings.position_embedding");
    for (int i = 0; i < m->flux->clip_layers; i++) {
        for (int k = 0; k < 4; k++)
            ecd_synthetic_add(list, matrix(d, d), true, "text_model.encoder.layers.%d.self_attn.%s", i, linears[k]);
        ecd_synthetic_add(list, ecd_synthetic_vector(d), true, "text_model.encoder.layers.%d.layer_norm1", i);
        ecd_synthetic_add(list, matrix(FF * d, d), true, "text_model.encoder.layers.%d.mlp.fc1", i);
        ecd_synthetic_add(list, matrix(d, FF * d), true, "text_model.encoder.layers.%d.mlp.fc2", i);
        ecd_synthetic_add(list, ecd_synthetic_vector(d), true, "text_model.encoder.layers.%d.layer_norm2", i);
    }
    ecd_synthetic_add(list, ecd_synthetic_vector(d), true, "text_model.final_layer_norm");
}

void ecd_synthetic_list_t5(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    static const char *const linears[] = {"q", "k", "v", "o"}, *const gated[] = {"wi_0", "wi_1"};
    const ecd_synthetic_flux *f = m->flux;
    int64_t d = f->t5_width, wide = f->t5_wide;
    ecd_synthetic_add(list, matrix(f->t5_vocab, d), false, "shared");
    for (int i = 0; i < f->t5_layers; i++) {
        for (int k = 0; k < 4; k++)
            ecd_synthetic_add(list, matrix(d, d), false, "encoder.block.%d.layer.0.SelfAttention.%s", i, linears[k]);
        if (i == 0)
            ecd_synthetic_add(list, matrix(T5_BUCKETS, f->t5_heads), false,
                              "encoder.block.0.layer.0.SelfAttention.relative_attention_bias");
        ecd_synthetic_add(list, ecd_synthetic_vector(d), false, "encoder.block.%d.layer.0.layer_norm", i);
        for (int k = 0; k < 2; k++)
            ecd_synthetic_add(list, matrix(wide, d), false, "encoder.block.%d.layer.1.DenseReluDense.%s", i, gated[k]);
        ecd_synthetic_add(list, matrix(d, wide), false, "encoder.block.%d.layer.1.DenseReluDense.wo", i);
        ecd_synthetic_add(list, ecd_synthetic_vector(d), false, "encoder.block.%d.layer.1.layer_norm", i);
    }
    ecd_synthetic_add(list, ecd_synthetic_vector(d), false, "encoder.final_layer_norm");
}
