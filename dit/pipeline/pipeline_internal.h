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
    ecd_vae *vae;         // NULL while it is not staged in
    ecd_checkpoint *vae_weights; // open while a lean VAE is
    bool lean;
    ecd_vae_info vae_info;
    uint64_t vae_bytes;   // its activations
    bool staged;
    int64_t height, width; // of latents
    ecd_transformer_info info;
    uint64_t program_bytes, canvas_bytes; // under a budget
    uint64_t open_ns, denoise_ns, vae_ns;
};

// Staging, around the decoding of a batch's latents. They do nothing where the VAE is resident.
ecd_status ecd_pipeline_vae_in(ecd_pipeline *p, ecd_diag *diag);
void ecd_pipeline_vae_out(ecd_pipeline *p);

// plan.c: the shares of the budget that are not the store's: outside_bytes and aside_bytes. The transformer's checkpoint
// is open, nothing is loaded.
void ecd_pipeline_plan(ecd_pipeline *p, ecd_store_options *store);

#endif
