// Normalisers: what becomes of a text before it is cut into words.
//
// Types of tokenizers' files: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, Replace, Prepend, Precompiled.
// Source: huggingface/tokenizers, src/normalizers; sentencepiece's own (ECD_NORMALIZE_SPIECE), src/normalizer.cc.
#ifndef ECD_TEXT_NORMALIZE_H
#define ECD_TEXT_NORMALIZE_H

#include "text/charsmap.h"
#include "text/regex.h"
#include "text/strings.h"
#include "weights/json.h"

typedef enum ecd_normalize_kind {
    ECD_NORMALIZE_UNICODE, // NFC and its kin: `options` for utf8proc
    ECD_NORMALIZE_LOWERCASE,
    ECD_NORMALIZE_STRIP,
    ECD_NORMALIZE_REPLACE, // `regex`, or else `pattern`, by `content`
    ECD_NORMALIZE_PREPEND, // `content`, unless the text is empty
    ECD_NORMALIZE_PRECOMPILED,
    ECD_NORMALIZE_SPIECE,
} ecd_normalize_kind;

typedef struct ecd_normalize_step {
    ecd_normalize_kind kind;
    int options;
    bool left, right;       // STRIP
    char *pattern, *content; // owned
    ecd_regex *regex;        // owned
    ecd_charsmap map;        // may be empty in SPIECE
    bool prefix_space, one_space, escape_space; // SPIECE: add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces
} ecd_normalize_step;

enum { ECD_NORMALIZE_MAX_STEPS = 32 };

typedef struct ecd_normalizer {
    ecd_normalize_step steps[ECD_NORMALIZE_MAX_STEPS];
    int count;
} ecd_normalizer;

// `json` is a normaliser's object; NULL or null is none. ECD_DATA for one that is unknown or lacks something.
ecd_status ecd_normalizer_read(const cJSON *json, ecd_normalizer *out, ecd_diag *diag);
void ecd_normalizer_free(ecd_normalizer *normalizer); // leaves it zeroed

// Normalises text[0, size), valid UTF-8, into `out`, which is cleared first; no string in it is closed.
ecd_status ecd_normalizer_run(const ecd_normalizer *normalizer, const char *text, size_t size, ecd_strings *out,
                              ecd_diag *diag);

// Calls `each` for an object of tokenizer.json, or for each of those that a "Sequence" lists under `list_key`, in order,
// with its "type". `what` names them in errors.
typedef ecd_status ecd_read_one(const cJSON *json, const char *type, void *out, ecd_diag *diag);
ecd_status ecd_sequence_read(const cJSON *json, const char *list_key, const char *what, ecd_read_one *each, void *out,
                             ecd_diag *diag);

// A pattern of Replace or Split: {"String": ...} or {"Regex": ...}. One of the two outputs is set.
ecd_status ecd_pattern_read(const cJSON *json, char **string, ecd_regex **regex, ecd_diag *diag);

// A copy; NULL when memory is out.
char *ecd_text_copy(const char *text);

#endif
