// Transformers: an architecture is one file beside this one and a row in the table of registry.c.
#ifndef ECD_DIT_TRANSFORMER_TRANSFORMER_H
#define ECD_DIT_TRANSFORMER_TRANSFORMER_H

#include "weights/store.h"

typedef struct cJSON cJSON;
typedef struct ecd_transformer ecd_transformer;

// How a model is told to follow its condition more closely.
typedef enum ecd_guidance {
    ECD_GUIDANCE_NONE = 0,        // it is not
    ECD_GUIDANCE_CLASSIFIER_FREE, // it predicts without the condition too
    ECD_GUIDANCE_EMBEDDED,        // the scale is one of its inputs
} ecd_guidance;

// What the pipeline must know of a model to feed it.
typedef struct ecd_transformer_info {
    const char *class_name;       // "DiTTransformer2DModel"
    int64_t in_channels;          // of the latents
    int64_t out_channels;         // of the prediction: in_channels of noise or velocity, then perhaps a variance
    int64_t sample_size;          // latents' default side
    int64_t patch_size;           // latents' sides must be multiples of it
    int64_t num_classes;          // ids 0..num_classes-1 are classes, num_classes is the null class; 0: draws texts
    int64_t text_width;           // of a text's tokens; 0: draws classes
    int64_t pooled_width;         // of the vector for a whole text
    ecd_guidance guidance;
    bool any_size;                // false: only sample_size x sample_size
    int blocks;
} ecd_transformer_info;

// One prediction for all pictures of a batch. Floats are in the backend's memory.
typedef struct ecd_transformer_call {
    const float *latents; // f32 [pictures, in_channels, height, width]
    int64_t pictures, height, width;
    float timestep;
    const int64_t *classes; // host [pictures]; models of classes
    const float *text;      // f32 [pictures, text_tokens, text_width]; models of texts
    const float *pooled;    // f32 [pictures, pooled_width]
    float guidance_scale;   // ECD_GUIDANCE_EMBEDDED
    bool guidance;          // ECD_GUIDANCE_CLASSIFIER_FREE: also predict for the null class, out holds both halves
    float *out;             // f32 [guidance ? 2 : 1][pictures][out_channels, height, width]: conditional first
} ecd_transformer_call;

typedef struct ecd_transformer_options {
    ecd_store_options store;
    int64_t max_pictures; // activations are planned for this batch
    int64_t height, width; // and this size of latents; 0: sample_size
    int64_t text_tokens;   // of each text, for models of texts
    bool guidance;
} ecd_transformer_options;

// `class_name` chooses the architecture (ECD_USAGE for one not known, listing those that are). Config and tensors are
// all checked here; activations and decode buffers are allocated here and never later. The checkpoint and backend must
// outlive the transformer.
ecd_status ecd_transformer_open(const char *class_name, const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be,
                                const ecd_transformer_options *options, ecd_transformer **out, ecd_diag *diag);
void ecd_transformer_close(ecd_transformer *t); // NULL is allowed

// Reads the config alone: what options may be given.
ecd_status ecd_transformer_describe(const char *class_name, const cJSON *config, ecd_transformer_info *out,
                                    ecd_diag *diag);

const ecd_transformer_info *ecd_transformer_get_info(const ecd_transformer *t);

// Computes one prediction. `cancel` (may be NULL) is looked at between blocks: nonzero gives ECD_INTERRUPTED.
ecd_status ecd_transformer_predict(ecd_transformer *t, const ecd_transformer_call *call, const volatile int *cancel,
                                   ecd_diag *diag);

// Gives back the memory of all weights that can be read or decoded again at the next prediction.
void ecd_transformer_rest(ecd_transformer *t);

void ecd_transformer_report(const ecd_transformer *t, ecd_store_report *store, uint64_t *activation_bytes);

#endif
