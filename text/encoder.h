// Text encoders: token ids to the vectors that a transformer is conditioned on. An architecture is one file beside this
// one and a row in encoder.c's table: CLIPTextModel (clip.c), T5EncoderModel (t5.c).
//
// Weights go through the block store, so that an encoder of billions of weights is read, used and let go block by block.
#ifndef ECD_TEXT_ENCODER_H
#define ECD_TEXT_ENCODER_H

#include "weights/store.h"

typedef struct cJSON cJSON;
typedef struct ecd_encoder ecd_encoder;

typedef struct ecd_encoder_info {
    const char *class_name;
    int64_t width;      // channels of its output
    int64_t vocab;      // ids lie below this
    int64_t max_tokens; // that it has places for; 0: as many as are wanted
    int blocks;
} ecd_encoder_info;

typedef struct ecd_encoder_options {
    ecd_store_options store;
    int64_t max_prompts, tokens; // activations are planned for these
    void (*progress)(void *user, int done, int blocks); // after each block; may be NULL
    void *user;
} ecd_encoder_options;

// Reads the config alone. ECD_USAGE for a class that is not known, ECD_DATA for a config that cannot be.
ecd_status ecd_encoder_describe(const char *class_name, const cJSON *config, ecd_encoder_info *out, ecd_diag *diag);

// Config and tensors are all checked here, and all memory is allocated. The checkpoint and the backend must outlive the
// encoder. Tensors may lack the prefix "text_model." (CLIP), and encoder.embed_tokens.weight may stand for
// shared.weight (T5).
ecd_status ecd_encoder_open(const char *class_name, const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be,
                            const ecd_encoder_options *options, ecd_encoder **out, ecd_diag *diag);
void ecd_encoder_close(ecd_encoder *encoder); // NULL is allowed

const ecd_encoder_info *ecd_encoder_get_info(const ecd_encoder *encoder);

// ids: [prompts, tokens] of the options' tokens, padding included: it is attended to, as FLUX's pipeline has it.
// hidden: host f32 [prompts, tokens, width], the last hidden state after the final norm, or NULL. pooled: host f32
// [prompts, width], the hidden state at the end of the text (the first eos_token_id), or NULL; CLIP only.
// More prompts than max_prompts are computed in groups, a block of weights for all groups before the next: then `hidden`
// must be given, where their states rest meanwhile. The bits are those of one prompt alone.
// `cancel` (may be NULL) is looked at between blocks: nonzero gives ECD_INTERRUPTED.
ecd_status ecd_encoder_run(ecd_encoder *encoder, const int32_t *ids, int64_t prompts, float *hidden, float *pooled,
                           const volatile int *cancel, ecd_diag *diag);

void ecd_encoder_report(const ecd_encoder *encoder, ecd_store_report *store, uint64_t *activation_bytes);

#endif
