// diffusers: models/autoencoders/vae.py, Decoder. The lowest resolution comes first.
#include "vae/vae_internal.h"

#include <stdio.h>

void ecd_vae_decoder_declare(ecd_vae_parts *parts, const ecd_vae_config *config, ecd_vae_coder *d)
{
    int64_t latent = config->latent_channels, channels = config->channels[config->levels - 1];
    char name[ECD_VAE_NAME];
    d->has_quant = config->post_quant_conv;
    if (d->has_quant)
        ecd_vae_declare_lone(parts, &d->quant, ecd_vae_conv1(latent, latent), NULL, "post_quant_conv");
    ecd_vae_declare_lone(parts, &d->conv_in, ecd_vae_conv3(latent, channels), NULL, "decoder.conv_in");
    ecd_vae_declare_mid(parts, &d->mid, channels, config->mid_attention, "decoder.mid_block");
    d->level_count = config->levels;
    for (int i = 0; i < config->levels; i++) {
        ecd_vae_level *level = &d->levels[i];
        int64_t out = config->channels[config->levels - 1 - i];
        level->count = config->layers + 1;
        for (int j = 0; j < level->count; j++) {
            snprintf(name, sizeof name, "decoder.up_blocks.%d.resnets.%d", i, j);
            ecd_vae_declare_resnet(parts, &level->resnets[j], j ? out : channels, out, name);
        }
        channels = out;
        level->has_resample = i < config->levels - 1;
        snprintf(name, sizeof name, "decoder.up_blocks.%d.upsamplers.0.conv", i);
        if (level->has_resample)
            ecd_vae_declare_lone(parts, &level->resample, ecd_vae_conv3(out, out), NULL, name);
    }
    ecd_vae_declare_lone(parts, &d->conv_out, ecd_vae_conv3(channels, config->out_channels), "decoder.conv_norm_out",
                         "decoder.conv_out");
}

void ecd_vae_decoder_run(ecd_vae_run *run, const ecd_vae_coder *d)
{
    if (d->has_quant)
        ecd_vae_run_lone(run, &d->quant, false, false);
    ecd_vae_run_lone(run, &d->conv_in, false, false);
    ecd_vae_run_mid(run, &d->mid);
    for (int i = 0; i < d->level_count; i++)
        ecd_vae_run_level(run, &d->levels[i], true);
    ecd_vae_run_lone(run, &d->conv_out, false, true);
}
