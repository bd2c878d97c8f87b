// The texts of a run: what a model folder's tokenizers and encoders make of prompts. Joins text/ with the folder, for the
// pipeline, which takes the encoders' outputs (ecd_picture_text) and knows no tokenizer.
//
// In this order: open (tokenizers and configs are read and checked), add each prompt, read (each encoder is opened, run
// for all prompts that are needed, and closed), take each prompt's outputs.
#ifndef ECD_LIB_TEXTS_H
#define ECD_LIB_TEXTS_H

#include "dit/pipeline/pipeline.h"

enum { ECD_TEXTS_PARTS = 2, ECD_TEXTS_MAX_TOKENS = 512 }; // FluxPipeline takes no more either

typedef struct ecd_texts ecd_texts;
typedef struct ecd_tokenizer ecd_tokenizer;

// The folder's tokenizers and its encoders' configs. max_tokens is the longest text of the encoder whose every token the
// transformer sees. ECD_DATA for a folder that lacks a part, or whose parts do not fit the transformer.
ecd_status ecd_texts_open(const ecd_model_folder *folder, const ecd_transformer_info *info, int64_t max_tokens,
                          ecd_texts **out, ecd_diag *diag);
void ecd_texts_close(ecd_texts *texts); // NULL is allowed

// Where a prompt was cut: for each part the bytes of it that were read, of the whole where all of it was.
typedef struct ecd_texts_cut {
    const char *reader[ECD_TEXTS_PARTS]; // the encoder's component, "text_encoder"
    int64_t tokens[ECD_TEXTS_PARTS];     // that it reads
    size_t bytes[ECD_TEXTS_PARTS];
    bool cut[ECD_TEXTS_PARTS];
} ecd_texts_cut;

// Adds a prompt (or finds the same one) and makes its tokens. ECD_USAGE where it is no UTF-8.
ecd_status ecd_texts_add(ecd_texts *texts, const char *prompt, size_t *index, ecd_texts_cut *cut, ecd_diag *diag);
bool ecd_texts_find(const ecd_texts *texts, const char *prompt, size_t *index); // of those added
// "the prompt is cut at byte 12 of 40: text_encoder reads 77 tokens" of a part's cut; false where all of it was read.
bool ecd_texts_cut_text(const ecd_texts_cut *cut, int part, const char *prompt, char *out, size_t size);
void ecd_texts_need(ecd_texts *texts, size_t index); // of all prompts added, those that are to be read

typedef struct ecd_texts_reading {
    ecd_backend *backend;
    uint64_t budget_bytes;    // of the whole process, as ecd_store_options has it; 0: no plan
    const char *rates_file;
    const char *cache;        // folder that keeps outputs; NULL: none
    const volatile int *cancel;
    void (*progress)(void *user, const char *encoder, int done, int blocks); // may be NULL
    void (*warn)(void *user, const char *text);                             // may be NULL
    void *user;
} ecd_texts_reading;

// Runs the encoders; each is let go before the next is opened. The tokenizers are let go first: nothing can be added any
// more.
ecd_status ecd_texts_read(ecd_texts *texts, const ecd_texts_reading *reading, ecd_diag *diag);

int64_t ecd_texts_tokens(const ecd_texts *texts);      // of a text, as ecd_pipeline_options wants them
size_t ecd_texts_from_cache(const ecd_texts *texts);   // outputs of an encoder that the cache had
size_t ecd_texts_encoded(const ecd_texts *texts);      // and that were computed

// A prompt's outputs, copied: hidden [tokens, text_width], pooled [pooled_width] of the transformer's info.
ecd_status ecd_texts_take(const ecd_texts *texts, size_t index, float *hidden, float *pooled, ecd_diag *diag);

// The tokenizers of any folder that has some, by component: for showing what they make of a text. *names and *tokenizers
// have ECD_TEXTS_PARTS entries, NULL where there is none.
ecd_status ecd_texts_tokenizers(const char *folder, const char *names[ECD_TEXTS_PARTS],
                                ecd_tokenizer *tokenizers[ECD_TEXTS_PARTS], ecd_diag *diag);

#endif
