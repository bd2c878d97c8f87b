// Added tokens: pieces that are cut out of a text as they stand, before the model sees it.
// Source: huggingface/tokenizers, src/tokenizer/added_vocabulary.rs.
#ifndef ECD_TEXT_ADDED_H
#define ECD_TEXT_ADDED_H

#include "text/normalize.h"
#include "text/vocab.h"

typedef struct ecd_added_token {
    int32_t id;
    bool single_word;   // only where no word goes on before or behind it
    bool lstrip, rstrip; // takes the white space before, behind it along
    bool normalized;    // looked for after normalising (and normalised itself), others before
} ecd_added_token;

typedef struct ecd_added {
    ecd_vocab plain, normalized; // spellings; their "ids" are indices into tokens
    ecd_added_token *tokens;     // owned
    size_t count, capacity;
} ecd_added;

ecd_status ecd_added_add(ecd_added *added, const char *content, const ecd_added_token *token,
                         const ecd_normalizer *normalizer, ecd_diag *diag);
ecd_status ecd_added_finish(ecd_added *added, ecd_diag *diag);
void ecd_added_free(ecd_added *added); // leaves it zeroed

// The next token in text[from, size) that is looked for `normalized` or not: its place and id. *id -1 if there is none.
void ecd_added_find(const ecd_added *added, bool normalized, const char *text, size_t size, size_t from, size_t *begin,
                    size_t *end, int32_t *id);

#endif
