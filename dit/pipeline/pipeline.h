// From a class or a text's embeddings, and a seed, to a picture: joins transformer, sampler, noise and VAE as diffusers'
// DiTPipeline (pipelines/dit/pipeline_dit.py) and FluxPipeline (pipelines/flux/pipeline_flux.py) do.
#ifndef ECD_DIT_PIPELINE_PIPELINE_H
#define ECD_DIT_PIPELINE_PIPELINE_H

#include "dit/transformer/transformer.h"
#include "weights/model_folder.h"

typedef struct ecd_pipeline ecd_pipeline;

// When the VAE's weights and activations are in memory.
typedef enum ecd_vae_stay {
    ECD_VAE_STAY_AUTO = 0, // staged if they take more than 64 MiB, or as planned under a budget
    ECD_VAE_RESIDENT,      // from opening on
    ECD_VAE_STAGED,        // while a batch's latents are decoded, and the transformer's mapped pages are given back
                           // meanwhile: the peak is the larger of the two, not their sum, for some tenths of a second
} ecd_vae_stay;

typedef struct ecd_pipeline_options {
    const char *model;        // folder, or a single file of weights
    const char *config;       // for a single file: the folder that holds what it lacks; NULL for a folder
    ecd_backend *backend;     // borrowed
    ecd_store_options store;
    int64_t max_pictures;     // largest batch that will be drawn at once
    int64_t height, width;    // pixels; 0: the model's own size
    int64_t text_tokens;      // of each text, for models of texts
    bool guidance;
    bool init;                // pictures may begin from one: the VAE's encoder is wanted too
    ecd_vae_stay vae;
    int64_t vae_tile;         // pixels; 0: none. Larger pictures are decoded by tiles and so are others: see vae/vae.h
    // With store.budget_bytes the pipeline plans: AUTO stages the VAE only where it does not fit beside the weights.
    // store.outside_bytes is then what the caller will allocate itself until the end: a sheet of pictures.
} ecd_pipeline_options;

// One picture to draw.
typedef struct ecd_picture_request {
    int64_t class_id; // models of classes
    uint64_t seed;
} ecd_picture_request;

// A text as its encoders give it.
typedef struct ecd_picture_text {
    const float *hidden; // host f32 [text_tokens, text_width]
    const float *pooled; // host f32 [pooled_width]
} ecd_picture_text;

typedef enum ecd_phase { ECD_PHASE_DENOISE, ECD_PHASE_DECODE } ecd_phase;

typedef struct ecd_draw {
    const ecd_picture_request *pictures;
    const ecd_picture_text *texts; // [count], one a picture, for models of texts
    int64_t count;         // at most max_pictures: one batch
    int steps;
    float guidance;        // classifier-free if > 1 (needs options.guidance); or what a model of embedded guidance is given
    const char *sampler;   // NULL: the model's own
    // Pictures that begin from one, as diffusers' img2img pipelines draw them (FluxImg2ImgPipeline; models of classes
    // have none, and do as StableDiffusionImg2ImgPipeline): the first of its generator's numbers draw its latents from
    // the encoder's distribution, the next are the noise of the step at which `strength` begins.
    const uint8_t *init;   // [height, width, 3] bytes of the pipeline's size, or NULL; needs options.init
    double strength;       // above 0, at most 1: so much of the steps is taken
    const volatile int *cancel; // nonzero stops within a block; may be NULL
    // Called after each step (denoise) and each picture (decode); may be NULL.
    void (*progress)(void *user, ecd_phase phase, int done, int total);
    // Called for each picture as it is done; rgb is [height, width, 3] bytes, borrowed for the call. A status other
    // than ECD_OK ends the drawing and is returned.
    ecd_status (*sink)(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag);
    void *user;
} ecd_draw;

typedef struct ecd_pipeline_report {
    uint64_t open_ns;       // reading, checking, encoding or decoding at opening
    uint64_t denoise_ns;    // all steps
    uint64_t vae_ns;
    ecd_store_report store;
    uint64_t activation_bytes; // planned for the transformer
    uint64_t vae_bytes;        // planned for the VAE's activations
    uint64_t vae_weights_bytes;
    uint64_t program_bytes;    // under a budget: code, libraries, tables and scratch
    uint64_t canvas_bytes;     // likewise: latents and pictures
    int64_t vae_tile;          // of the VAE, pixels; 0 where pictures are decoded whole
    bool vae_lean;             // the VAE's weights are read as it comes to them, for each picture anew
    bool vae_staged;           // the VAE's bytes and the weights' are not in memory at the same time
} ecd_pipeline_report;

ecd_status ecd_pipeline_open(const ecd_pipeline_options *options, ecd_pipeline **out, ecd_diag *diag);
void ecd_pipeline_close(ecd_pipeline *p); // NULL is allowed

const ecd_model_folder *ecd_pipeline_folder(const ecd_pipeline *p);
const ecd_transformer_info *ecd_pipeline_info(const ecd_pipeline *p);
void ecd_pipeline_size(const ecd_pipeline *p, int64_t *height, int64_t *width); // pixels

// Of `steps`, the first that a picture of a picture takes; it may be `steps`: then none is left.
int ecd_pipeline_first_step(const ecd_pipeline *p, int steps, double strength);

// Draws one batch. Each picture is the one that its class and seed give alone, to the last byte.
ecd_status ecd_pipeline_draw(ecd_pipeline *p, const ecd_draw *draw, ecd_diag *diag);

void ecd_pipeline_report_get(const ecd_pipeline *p, ecd_pipeline_report *out);

// What was chosen and why, in a line: "28 blocks: 20 expanded, 8 decoded at each use; ...". Valid for reports of plans
// and of runs without one. Returns the length that the whole line has (as snprintf).
size_t ecd_pipeline_plan_text(const ecd_pipeline_report *report, char *out, size_t size);

#endif
