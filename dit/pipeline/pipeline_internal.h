// The pipeline's own parts: pipeline.c opens and reports, draw.c draws.
#ifndef ECD_DIT_PIPELINE_PIPELINE_INTERNAL_H
#define ECD_DIT_PIPELINE_PIPELINE_INTERNAL_H

#include "dit/pipeline/pipeline.h"
#include "vae/vae.h"

struct ecd_pipeline {
    ecd_pipeline_options options; // model not kept
    ecd_model_folder folder;
    ecd_checkpoint *weights; // the transformer's: its store borrows from it
    ecd_transformer *transformer;
    ecd_vae *vae;
    int64_t height, width; // of latents
    uint64_t open_ns, denoise_ns, vae_ns;
};

#endif
