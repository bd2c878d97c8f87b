// diffusers: models/autoencoders/vae.py, Encoder. The picture's resolution comes first.
#include "vae/vae_internal.h"

#include <stdio.h>

void ecd_vae_encoder_declare(ecd_vae_parts *parts, const ecd_vae_config *config, ecd_vae_coder *e)
{
    int64_t moments = 2 * config->latent_channels, channels = config->channels[0];
    char name[ECD_VAE_NAME];
    ecd_vae_declare_lone(parts, &e->conv_in, ecd_vae_conv3(config->in_channels, channels), NULL, "encoder.conv_in");
    e->level_count = config->levels;
    for (int i = 0; i < config->levels; i++) {
        ecd_vae_level *level = &e->levels[i];
        int64_t out = config->channels[i];
        level->count = config->layers;
        for (int j = 0; j < level->count; j++) {
            snprintf(name, sizeof name, "encoder.down_blocks.%d.resnets.%d", i, j);
            ecd_vae_declare_resnet(parts, &level->resnets[j], j ? out : channels, out, name);
        }
        channels = out;
        level->has_resample = i < config->levels - 1;
        // Downsample2D with padding 0 pads by (0, 1, 0, 1) itself: one row below, one column to the right.
        ecd_conv_shape down = {.in_channels = out, .out_channels = out, .kernel = 3, .stride = 2, .pad_after = 1};
        snprintf(name, sizeof name, "encoder.down_blocks.%d.downsamplers.0.conv", i);
        if (level->has_resample)
            ecd_vae_declare_lone(parts, &level->resample, down, NULL, name);
    }
    ecd_vae_declare_mid(parts, &e->mid, channels, config->mid_attention, "encoder.mid_block");
    ecd_vae_declare_lone(parts, &e->conv_out, ecd_vae_conv3(channels, moments), "encoder.conv_norm_out",
                         "encoder.conv_out");
    e->has_quant = config->quant_conv;
    if (e->has_quant)
        ecd_vae_declare_lone(parts, &e->quant, ecd_vae_conv1(moments, moments), NULL, "quant_conv");
}

void ecd_vae_encoder_run(ecd_vae_run *run, const ecd_vae_coder *e)
{
    ecd_vae_run_lone(run, &e->conv_in, false, false);
    for (int i = 0; i < e->level_count; i++)
        ecd_vae_run_level(run, &e->levels[i], false);
    ecd_vae_run_mid(run, &e->mid);
    ecd_vae_run_lone(run, &e->conv_out, false, !e->has_quant);
    if (e->has_quant)
        ecd_vae_run_lone(run, &e->quant, false, true);
}
