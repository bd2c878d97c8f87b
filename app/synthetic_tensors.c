// The tensors of diffusers' DiTTransformer2DModel and AutoencoderKL (models/transformers/dit_transformer_2d.py,
// models/autoencoders/vae.py), by name and shape, in the order of their state_dict.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/grow.h"
#include "app/synthetic_internal.h"

enum { SINUSOID = 256, PICTURE = 3, PATCH = 2, LAYERS_PER_BLOCK = 2 };

uint64_t ecd_synthetic_elements(const ecd_synthetic_tensor *tensor)
{
    uint64_t count = 1;
    for (int i = 0; i < tensor->dims; i++)
        count *= (uint64_t)tensor->shape[i];
    return count;
}

static ecd_synthetic_tensor *append(ecd_synthetic_list *list)
{
    ecd_synthetic_tensor *tensors = ecd_grow(list->tensors, list->count + 1, &list->capacity, sizeof *tensors);
    if (!tensors) {
        list->no_memory = true;
        return NULL;
    }
    list->tensors = tensors;
    ecd_synthetic_tensor *tensor = &list->tensors[list->count++];
    *tensor = (ecd_synthetic_tensor){.gain = 1};
    return tensor;
}

void ecd_synthetic_add(ecd_synthetic_list *list, ecd_synthetic_tensor weight, bool with_bias, const char *format, ...)
{
    char prefix[ECD_SYNTHETIC_NAME - 8];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    for (int bias = 0; bias < (with_bias ? 2 : 1); bias++) {
        ecd_synthetic_tensor *t = append(list);
        if (!t)
            return;
        *t = weight;
        t->dims = bias ? 1 : weight.dims;
        snprintf(t->name, sizeof t->name, "%s.%s", prefix, bias ? "bias" : "weight");
    }
}

static ecd_synthetic_tensor square(int64_t out, int64_t in, int64_t side)
{
    return (ecd_synthetic_tensor){.shape = {out, in, side, side}, .dims = 4, .gain = 1};
}

// diffusers gives each block embedders of its own, and the converted model the same values in all of them.
static void add_embedders(ecd_synthetic_list *list, int64_t d, int64_t classes, int64_t block)
{
    char prefix[64];
    size_t first = list->count;
    int length = snprintf(prefix, sizeof prefix, "transformer_blocks.%lld.norm1.emb", (long long)block);
    ecd_synthetic_add(list, ecd_synthetic_matrix(d, SINUSOID, 1), true, "%s.timestep_embedder.linear_1", prefix);
    ecd_synthetic_add(list, ecd_synthetic_matrix(d, d, 1), true, "%s.timestep_embedder.linear_2", prefix);
    ecd_synthetic_tensor *table = append(list);
    if (table) {
        *table = ecd_synthetic_matrix(classes + 1, d, 4);
        snprintf(table->name, sizeof table->name, "%s.class_embedder.embedding_table.weight", prefix);
    }
    for (size_t i = first; i < list->count; i++)
        list->tensors[i].shared = length;
}

void ecd_synthetic_list_dit(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    static const char *const projections[] = {"to_q", "to_k", "to_v", "to_out.0"};
    int64_t d = m->heads * m->head_dim;
    ecd_synthetic_add(list, square(d, m->latents, PATCH), true, "pos_embed.proj");
    for (long long i = 0; i < m->layers; i++) {
        add_embedders(list, d, m->classes, i);
        ecd_synthetic_add(list, ecd_synthetic_matrix(6 * d, d, 0.5F), true, "transformer_blocks.%lld.norm1.linear", i);
        for (int p = 0; p < 4; p++)
            ecd_synthetic_add(list, ecd_synthetic_matrix(d, d, 1), true, "transformer_blocks.%lld.attn1.%s", i, projections[p]);
        ecd_synthetic_add(list, ecd_synthetic_matrix(4 * d, d, 1), true, "transformer_blocks.%lld.ff.net.0.proj", i);
        ecd_synthetic_add(list, ecd_synthetic_matrix(d, 4 * d, 1), true, "transformer_blocks.%lld.ff.net.2", i);
    }
    ecd_synthetic_add(list, ecd_synthetic_matrix(2 * d, d, 0.5F), true, "proj_out_1");
    ecd_synthetic_add(list, ecd_synthetic_matrix(PATCH * PATCH * 2 * m->latents, d, 1), true, "proj_out_2");
}

static void add_resnet(ecd_synthetic_list *list, int64_t in, int64_t out, const char *prefix, int index)
{
    ecd_synthetic_add(list, ecd_synthetic_vector(in), true, "%s.resnets.%d.norm1", prefix, index);
    ecd_synthetic_add(list, square(out, in, 3), true, "%s.resnets.%d.conv1", prefix, index);
    ecd_synthetic_add(list, ecd_synthetic_vector(out), true, "%s.resnets.%d.norm2", prefix, index);
    ecd_synthetic_add(list, square(out, out, 3), true, "%s.resnets.%d.conv2", prefix, index);
    if (in != out)
        ecd_synthetic_add(list, square(out, in, 1), true, "%s.resnets.%d.conv_shortcut", prefix, index);
}

// The attention has the names that diffusers gave it when these files were made.
static void add_mid(ecd_synthetic_list *list, const ecd_synthetic_model *m, int64_t channels, const char *prefix)
{
    static const char *const names[2][4] = {{"query", "key", "value", "proj_attn"}, {"to_q", "to_k", "to_v", "to_out.0"}};
    const char *const *projections = names[m->flux != NULL];
    ecd_synthetic_add(list, ecd_synthetic_vector(channels), true, "%s.attentions.0.group_norm", prefix);
    for (int p = 0; p < 4; p++)
        ecd_synthetic_add(list, ecd_synthetic_matrix(channels, channels, 1), true, "%s.attentions.0.%s", prefix, projections[p]);
    for (int i = 0; i < 2; i++)
        add_resnet(list, channels, channels, prefix, i);
}

static void add_encoder(ecd_synthetic_list *list, const ecd_synthetic_model *m)
{
    const int64_t *channels = m->vae_channels;
    char prefix[32];
    int64_t in = channels[0], last = channels[ECD_SYNTHETIC_LEVELS - 1];
    ecd_synthetic_add(list, square(in, PICTURE, 3), true, "encoder.conv_in");
    for (int level = 0; level < ECD_SYNTHETIC_LEVELS; level++) {
        snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d", level);
        for (int i = 0; i < LAYERS_PER_BLOCK; i++) {
            add_resnet(list, in, channels[level], prefix, i);
            in = channels[level];
        }
        if (level + 1 < ECD_SYNTHETIC_LEVELS)
            ecd_synthetic_add(list, square(in, in, 3), true, "%s.downsamplers.0.conv", prefix);
    }
    add_mid(list, m, last, "encoder.mid_block");
    ecd_synthetic_add(list, ecd_synthetic_vector(last), true, "encoder.conv_norm_out");
    ecd_synthetic_add(list, square(2 * m->latents, last, 3), true, "encoder.conv_out");
}

static void add_decoder(ecd_synthetic_list *list, const ecd_synthetic_model *m)
{
    const int64_t *channels = m->vae_channels;
    char prefix[32];
    int64_t in = channels[ECD_SYNTHETIC_LEVELS - 1];
    ecd_synthetic_add(list, square(in, m->latents, 3), true, "decoder.conv_in");
    for (int level = 0; level < ECD_SYNTHETIC_LEVELS; level++) {
        int64_t out = channels[ECD_SYNTHETIC_LEVELS - 1 - level];
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d", level);
        for (int i = 0; i <= LAYERS_PER_BLOCK; i++) {
            add_resnet(list, in, out, prefix, i);
            in = out;
        }
        if (level + 1 < ECD_SYNTHETIC_LEVELS)
            ecd_synthetic_add(list, square(in, in, 3), true, "%s.upsamplers.0.conv", prefix);
    }
    add_mid(list, m, channels[ECD_SYNTHETIC_LEVELS - 1], "decoder.mid_block");
    ecd_synthetic_add(list, ecd_synthetic_vector(channels[0]), true, "decoder.conv_norm_out");
    ecd_synthetic_add(list, square(PICTURE, channels[0], 3), true, "decoder.conv_out");
}

void ecd_synthetic_list_vae(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    add_encoder(list, m);
    add_decoder(list, m);
    if (m->flux) // whose VAE has none
        return;
    ecd_synthetic_add(list, square(2 * m->latents, 2 * m->latents, 1), true, "quant_conv");
    ecd_synthetic_add(list, square(m->latents, m->latents, 1), true, "post_quant_conv");
}
