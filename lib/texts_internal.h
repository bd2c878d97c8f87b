// The parts of lib/texts: texts.c opens and adds, texts_read.c runs the encoders, texts_cache.c keeps what they gave.
#ifndef ECD_LIB_TEXTS_INTERNAL_H
#define ECD_LIB_TEXTS_INTERNAL_H

#include "lib/sha256.h"
#include "lib/shelf.h"
#include "lib/texts.h"
#include "text/encoder.h"
#include "text/tokenizer.h"

// One encoder of a model, with its tokenizer.
typedef struct ecd_text_part {
    const char *tokenizer_name, *encoder_name; // components of the folder
    char *tokenizer_path, *encoder_path;
    ecd_tokenizer *tokenizer; // NULL once the texts are read
    cJSON *config;
    const char *class_name;
    ecd_encoder_info info;
    bool pooled;    // gives a vector for a whole text, not one a token
    int64_t tokens; // of a text
    size_t floats;  // of its output for a text
    int32_t *ids;   // [count][tokens]
    size_t ids_capacity;
    ecd_shelf outputs; // one a prompt
} ecd_text_part;

struct ecd_texts {
    ecd_model_folder where; // its paths alone, for the encoders' weights
    ecd_text_part parts[ECD_TEXTS_PARTS];
    char **prompts;
    bool *needed;
    size_t count, prompts_capacity, needed_capacity;
    size_t from_cache, encoded;
};

// The cache's file for a prompt, whose name changes with everything that its output depends on: the encoder's files (print,
// see below), its class, the token ids, and what computes. The caller frees it; NULL when memory is out.
char *ecd_texts_cache_name(const char *cache, const ecd_text_part *part, const char print[ECD_SHA256_TEXT],
                           const ecd_backend *be, const int32_t *ids);
// Names, sizes and times of a component's files, with stretches of their content; `path` is its folder, and where weights
// come from single files those count too.
ecd_status ecd_texts_cache_print(const ecd_model_folder *folder, const char *component, const char *path,
                                 char print[ECD_SHA256_TEXT], ecd_diag *diag);
// False where there is no such file, or it is not what was written: then *damaged is set.
bool ecd_texts_cache_load(const char *file, const ecd_text_part *part, float *out, bool *damaged);
ecd_status ecd_texts_cache_save(const char *file, const ecd_text_part *part, const float *output, ecd_diag *diag);

#endif
