// The tensors of diffusers' DiTTransformer2DModel and AutoencoderKL (models/transformers/dit_transformer_2d.py,
// models/autoencoders/vae.py), by name and shape, in the order of their state_dict.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/grow.h"
#include "app/synthetic_internal.h"

enum { SINUSOID = 256, LATENT = 4, PICTURE = 3, PATCH = 2, LAYERS_PER_BLOCK = 2 };

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

// "PREFIX.weight" of the shape given, then "PREFIX.bias" of its first size.
static void pair(ecd_synthetic_list *list, ecd_synthetic_tensor weight, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void pair(ecd_synthetic_list *list, ecd_synthetic_tensor weight, const char *format, ...)
{
    char prefix[ECD_SYNTHETIC_NAME - 8];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    for (int bias = 0; bias < 2; bias++) {
        ecd_synthetic_tensor *t = append(list);
        if (!t)
            return;
        *t = weight;
        t->dims = bias ? 1 : weight.dims;
        snprintf(t->name, sizeof t->name, "%s.%s", prefix, bias ? "bias" : "weight");
    }
}

static ecd_synthetic_tensor matrix(int64_t out, int64_t in, float gain)
{
    return (ecd_synthetic_tensor){.shape = {out, in}, .dims = 2, .gain = gain};
}

static ecd_synthetic_tensor square(int64_t out, int64_t in, int64_t side)
{
    return (ecd_synthetic_tensor){.shape = {out, in, side, side}, .dims = 4, .gain = 1};
}

static ecd_synthetic_tensor vector(int64_t count)
{
    return (ecd_synthetic_tensor){.shape = {count}, .dims = 1, .gain = 1};
}

// diffusers gives each block embedders of its own, and the converted model the same values in all of them.
static void add_embedders(ecd_synthetic_list *list, int64_t d, int64_t classes, int64_t block)
{
    char prefix[64];
    size_t first = list->count;
    int length = snprintf(prefix, sizeof prefix, "transformer_blocks.%lld.norm1.emb", (long long)block);
    pair(list, matrix(d, SINUSOID, 1), "%s.timestep_embedder.linear_1", prefix);
    pair(list, matrix(d, d, 1), "%s.timestep_embedder.linear_2", prefix);
    ecd_synthetic_tensor *table = append(list);
    if (table) {
        *table = matrix(classes + 1, d, 4);
        snprintf(table->name, sizeof table->name, "%s.class_embedder.embedding_table.weight", prefix);
    }
    for (size_t i = first; i < list->count; i++)
        list->tensors[i].shared = length;
}

void ecd_synthetic_list_dit(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    static const char *const projections[] = {"to_q", "to_k", "to_v", "to_out.0"};
    int64_t d = m->heads * m->head_dim;
    pair(list, square(d, LATENT, PATCH), "pos_embed.proj");
    for (long long i = 0; i < m->layers; i++) {
        add_embedders(list, d, m->classes, i);
        pair(list, matrix(6 * d, d, 0.5F), "transformer_blocks.%lld.norm1.linear", i);
        for (int p = 0; p < 4; p++)
            pair(list, matrix(d, d, 1), "transformer_blocks.%lld.attn1.%s", i, projections[p]);
        pair(list, matrix(4 * d, d, 1), "transformer_blocks.%lld.ff.net.0.proj", i);
        pair(list, matrix(d, 4 * d, 1), "transformer_blocks.%lld.ff.net.2", i);
    }
    pair(list, matrix(2 * d, d, 0.5F), "proj_out_1");
    pair(list, matrix(PATCH * PATCH * 2 * LATENT, d, 1), "proj_out_2");
}

static void add_resnet(ecd_synthetic_list *list, int64_t in, int64_t out, const char *prefix, int index)
{
    pair(list, vector(in), "%s.resnets.%d.norm1", prefix, index);
    pair(list, square(out, in, 3), "%s.resnets.%d.conv1", prefix, index);
    pair(list, vector(out), "%s.resnets.%d.norm2", prefix, index);
    pair(list, square(out, out, 3), "%s.resnets.%d.conv2", prefix, index);
    if (in != out)
        pair(list, square(out, in, 1), "%s.resnets.%d.conv_shortcut", prefix, index);
}

// The attention has the names that diffusers gave it when these files were made.
static void add_mid(ecd_synthetic_list *list, int64_t channels, const char *prefix)
{
    static const char *const projections[] = {"query", "key", "value", "proj_attn"};
    pair(list, vector(channels), "%s.attentions.0.group_norm", prefix);
    for (int p = 0; p < 4; p++)
        pair(list, matrix(channels, channels, 1), "%s.attentions.0.%s", prefix, projections[p]);
    for (int i = 0; i < 2; i++)
        add_resnet(list, channels, channels, prefix, i);
}

static void add_encoder(ecd_synthetic_list *list, const int64_t *channels)
{
    char prefix[32];
    int64_t in = channels[0], last = channels[ECD_SYNTHETIC_LEVELS - 1];
    pair(list, square(in, PICTURE, 3), "encoder.conv_in");
    for (int level = 0; level < ECD_SYNTHETIC_LEVELS; level++) {
        snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d", level);
        for (int i = 0; i < LAYERS_PER_BLOCK; i++) {
            add_resnet(list, in, channels[level], prefix, i);
            in = channels[level];
        }
        if (level + 1 < ECD_SYNTHETIC_LEVELS)
            pair(list, square(in, in, 3), "%s.downsamplers.0.conv", prefix);
    }
    add_mid(list, last, "encoder.mid_block");
    pair(list, vector(last), "encoder.conv_norm_out");
    pair(list, square(2 * LATENT, last, 3), "encoder.conv_out");
}

static void add_decoder(ecd_synthetic_list *list, const int64_t *channels)
{
    char prefix[32];
    int64_t in = channels[ECD_SYNTHETIC_LEVELS - 1];
    pair(list, square(in, LATENT, 3), "decoder.conv_in");
    for (int level = 0; level < ECD_SYNTHETIC_LEVELS; level++) {
        int64_t out = channels[ECD_SYNTHETIC_LEVELS - 1 - level];
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d", level);
        for (int i = 0; i <= LAYERS_PER_BLOCK; i++) {
            add_resnet(list, in, out, prefix, i);
            in = out;
        }
        if (level + 1 < ECD_SYNTHETIC_LEVELS)
            pair(list, square(in, in, 3), "%s.upsamplers.0.conv", prefix);
    }
    add_mid(list, channels[ECD_SYNTHETIC_LEVELS - 1], "decoder.mid_block");
    pair(list, vector(channels[0]), "decoder.conv_norm_out");
    pair(list, square(PICTURE, channels[0], 3), "decoder.conv_out");
}

void ecd_synthetic_list_vae(const ecd_synthetic_model *m, ecd_synthetic_list *list)
{
    add_encoder(list, m->vae_channels);
    add_decoder(list, m->vae_channels);
    pair(list, square(2 * LATENT, 2 * LATENT, 1), "quant_conv");
    pair(list, square(LATENT, LATENT, 1), "post_quant_conv");
}
