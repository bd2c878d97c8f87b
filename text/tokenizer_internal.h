// What a tokenizer is made of: internal to text/.
#ifndef ECD_TEXT_TOKENIZER_INTERNAL_H
#define ECD_TEXT_TOKENIZER_INTERNAL_H

#include "text/added.h"
#include "text/model.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

enum { ECD_SPECIAL_MAX = 8 };

typedef enum ecd_model_kind {
    ECD_MODEL_BPE,
    ECD_MODEL_UNIGRAM,
} ecd_model_kind;

struct ecd_tokenizer {
    const char *source;
    ecd_vocab vocab; // all pieces, added ones too
    ecd_added added;
    ecd_normalizer normalizer;
    ecd_pretokenizer pretokenizer;
    ecd_model_kind kind;
    ecd_bpe bpe;
    ecd_unigram unigram;
    int32_t before[ECD_SPECIAL_MAX], behind[ECD_SPECIAL_MAX]; // special ids
    int before_count, behind_count;
    int32_t pad; // -1: none known
    size_t max_length;
};

// The readers; each fills a zeroed tokenizer, which the caller frees also when they fail.
// From memory: `root` is tokenizer.json's object; `data` the bytes of spiece.model; merges.txt as text.
ecd_status ecd_tokenizer_read_json(const cJSON *root, ecd_tokenizer *out, ecd_diag *diag);
ecd_status ecd_tokenizer_read_spiece(const void *data, size_t size, ecd_tokenizer *out, ecd_diag *diag);
ecd_status ecd_tokenizer_read_merges(const cJSON *vocab, const char *merges, size_t size, ecd_tokenizer *out,
                                     ecd_diag *diag);
// tokenizer_config.json or special_tokens_map.json: what is not known yet of pad and max_length.
ecd_status ecd_tokenizer_read_config(const cJSON *config, ecd_tokenizer *tokenizer, ecd_diag *diag);

void ecd_tokenizer_clear(ecd_tokenizer *tokenizer); // frees what it holds, not itself

#endif
