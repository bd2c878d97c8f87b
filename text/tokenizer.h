// Tokenizers: a prompt's token ids, equal to those of Hugging Face's libraries.
//
// Reads the files of a tokenizer's folder: tokenizer.json (models BPE and Unigram), or vocab.json with merges.txt
// (CLIP's, as transformers' CLIPTokenizer builds it), or spiece.model (a unigram model, as sentencepiece runs it).
// tokenizer_config.json and special_tokens_map.json say which piece pads, and the longest input.
#ifndef ECD_TEXT_TOKENIZER_H
#define ECD_TEXT_TOKENIZER_H

#include "base/status.h"

typedef struct ecd_tokenizer ecd_tokenizer;

// ECD_USAGE if the folder is not there or holds no tokenizer; ECD_DATA naming the file and what is wrong in it.
// A tokenizer is used by one thread at a time. Close with ecd_tokenizer_close.
ecd_status ecd_tokenizer_open(const char *folder, ecd_tokenizer **out, ecd_diag *diag);
void ecd_tokenizer_close(ecd_tokenizer *tokenizer); // NULL is allowed

typedef struct ecd_tokens {
    int32_t *ids;      // [count]; owned
    size_t count;
    size_t used;       // of them, before the padding
    size_t left_out;   // tokens of the text that max_length had no room for
} ecd_tokens;

void ecd_tokens_free(ecd_tokens *tokens); // leaves it zeroed

// The ids of text[0, size) with the special ids that the tokenizer puts before and behind. max_length 0 is no limit;
// otherwise what is too long is cut, so that the special ids stay, and with `pad` what is too short is filled up.
// ECD_USAGE for text that is no UTF-8 (the message says where) or is longer than ECD_TEXT_MAX_BYTES, or a max_length that has no
// room for the special ids; ECD_DATA if the tokenizer's rules cannot be followed (a pattern that never ends).
ecd_status ecd_tokenizer_encode(const ecd_tokenizer *tokenizer, const char *text, size_t size, size_t max_length, bool pad,
                                ecd_tokens *out, ecd_diag *diag);

// Up to which byte of the text max_length tokens reach: `size` if all of it fits. For telling where a prompt was cut.
ecd_status ecd_tokenizer_reach(const ecd_tokenizer *tokenizer, const char *text, size_t size, size_t max_length,
                               size_t *bytes, ecd_diag *diag);

// The spelling of an id in the vocabulary, not NUL-terminated; NULL for an id that it lacks.
const char *ecd_tokenizer_piece(const ecd_tokenizer *tokenizer, int32_t id, size_t *size);
// Ids lie below this.
int32_t ecd_tokenizer_id_limit(const ecd_tokenizer *tokenizer);
// model_max_length of tokenizer_config.json; 0 if it says nothing (or Hugging Face's 1e30).
size_t ecd_tokenizer_max_length(const ecd_tokenizer *tokenizer);
// What it was read from: "tokenizer.json", "vocab.json" or "spiece.model"; and its model: "BPE" or "Unigram".
const char *ecd_tokenizer_source(const ecd_tokenizer *tokenizer);
const char *ecd_tokenizer_model(const ecd_tokenizer *tokenizer);

#endif
