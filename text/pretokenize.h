// Pre-tokenizers: how a normalised text is cut into the words that the model looks at one by one.
//
// Types of tokenizers' files: Sequence, WhitespaceSplit, Metaspace, Split, ByteLevel.
// Source: huggingface/tokenizers, src/pre_tokenizers, and SplitDelimiterBehavior in src/tokenizer/normalizer.rs.
#ifndef ECD_TEXT_PRETOKENIZE_H
#define ECD_TEXT_PRETOKENIZE_H

#include "text/regex.h"
#include "text/strings.h"
#include "weights/json.h"

typedef enum ecd_cut_kind {
    ECD_CUT_WHITESPACE,
    ECD_CUT_METASPACE,
    ECD_CUT_SPLIT,
    ECD_CUT_BYTE_LEVEL,
} ecd_cut_kind;

typedef enum ecd_cut_behavior {
    ECD_CUT_REMOVED = 0,
    ECD_CUT_ISOLATED,
    ECD_CUT_MERGED_WITH_PREVIOUS,
    ECD_CUT_MERGED_WITH_NEXT,
    ECD_CUT_CONTIGUOUS,
} ecd_cut_behavior;

typedef enum ecd_prepend {
    ECD_PREPEND_NEVER = 0,
    ECD_PREPEND_FIRST,  // at the beginning of the whole text alone
    ECD_PREPEND_ALWAYS, // at the beginning of each part
} ecd_prepend;

typedef struct ecd_cut_step {
    ecd_cut_kind kind;
    ecd_cut_behavior behavior; // SPLIT
    bool invert;               // SPLIT: what matches is kept, what does not is the delimiter
    char *pattern;             // SPLIT: a plain one, owned; or
    ecd_regex *regex;          // SPLIT and BYTE_LEVEL: owned, NULL for none
    ecd_prepend prepend;       // METASPACE; BYTE_LEVEL: a space
    char replacement[5];       // METASPACE: stands for a space
    bool split;                // METASPACE
} ecd_cut_step;

enum { ECD_CUT_MAX_STEPS = 16 };

typedef struct ecd_pretokenizer {
    ecd_cut_step steps[ECD_CUT_MAX_STEPS];
    int count;
} ecd_pretokenizer;

// `json` is a pre-tokenizer's object; NULL or null is none. ECD_DATA for one that is unknown or lacks something.
ecd_status ecd_pretokenizer_read(const cJSON *json, ecd_pretokenizer *out, ecd_diag *diag);
void ecd_pretokenizer_free(ecd_pretokenizer *pretokenizer); // leaves it zeroed

// Cuts the strings of *strings (all closed), leaving the result there.
ecd_status ecd_pretokenizer_run(const ecd_pretokenizer *pretokenizer, ecd_strings *strings, ecd_diag *diag);

// The character that stands for a byte in byte-level vocabularies (GPT-2's bytes_to_unicode), and back (-1: none).
int32_t ecd_byte_char(uint8_t byte);
int ecd_char_byte(int32_t character);

#endif
