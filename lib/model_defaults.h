// How a model wants to be drawn with: generation_config.json, a file of our own, or what its pipeline's authors say.
#ifndef ECD_LIB_MODEL_DEFAULTS_H
#define ECD_LIB_MODEL_DEFAULTS_H

#include "dit/transformer/transformer.h"
#include "weights/model_folder.h"

// num_inference_steps (from 1 to 1000) and guidance_scale of generation_config.json. Where it says nothing:
//   classes: 50 and 4, DiTPipeline.__call__ (diffusers, pipelines/dit/pipeline_dit.py);
//   texts, guidance embedded (FLUX.1-dev): 28 and 3.5, FluxPipeline.__call__ (pipelines/flux/pipeline_flux.py);
//   texts, no guidance (FLUX.1-schnell): 4 and 0, the example in the model's card.
ecd_status ecd_model_defaults(const ecd_model_folder *folder, const ecd_transformer_info *info, int64_t *steps,
                              double *guidance, ecd_diag *diag);

// Of a text: 512 (FluxPipeline.__call__), without guidance 256 (FLUX.1-schnell's card); 0 for models of classes.
int64_t ecd_model_max_tokens(const ecd_transformer_info *info);

// What the model draws where no size is asked for: sample_size times the VAE's factor, in pixels; and that factor, pixels of a
// latent's side, which follows from the VAE's levels (diffusers: vae_scale_factor). 0 where the config names none.
int64_t ecd_model_own_side(const ecd_model_folder *folder, const ecd_transformer_info *info);
int64_t ecd_model_vae_factor(const ecd_model_folder *folder);

enum {
    ECD_MODEL_MAX_TEXT_PIXELS = 1 << 21, // of a picture of a text: two megapixels, as FLUX.1's card has it
    ECD_MODEL_MAX_STEPS = 1000,
    ECD_MODEL_LEAST_TILE = 64, // pixels of a VAE's tile
};

#endif
