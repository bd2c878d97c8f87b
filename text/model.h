// The models that turn a word into ids: BPE and Unigram, over a vocabulary.
#ifndef ECD_TEXT_MODEL_H
#define ECD_TEXT_MODEL_H

#include "text/vocab.h"
#include "weights/json.h"

// A growing list of ids. A failure sticks.
typedef struct ecd_ids {
    int32_t *ids; // owned
    size_t count, capacity;
    bool no_memory;
} ecd_ids;

void ecd_ids_add(ecd_ids *ids, int32_t id);
void ecd_ids_free(ecd_ids *ids);

// The pair of ids that merge number `rank` joins. Byte-pair encoding (Sennrich et al., arXiv 1508.07909) as tokenizers'
// src/models/bpe has it: of all neighbours the pair of the lowest rank is joined first, the leftmost of equals.
typedef struct ecd_merge {
    int32_t left, right, joined;
    uint32_t rank;
} ecd_merge;

typedef struct ecd_bpe {
    ecd_merge *merges; // sorted by (left, right) once finished; owned
    size_t count, capacity;
    char prefix[32]; // continuing_subword_prefix: before every character of a word but the first
    char suffix[32]; // end_of_word_suffix: behind the last
    int32_t unknown; // the id of a character that is not in the vocabulary, -1: it is left out
    bool fuse_unknown;
    bool ignore_merges; // a word that is in the vocabulary is taken whole
} ecd_bpe;

// Adds a merge of the pieces `left` and `right`. ECD_DATA if they, or what they make, are not in the vocabulary.
ecd_status ecd_bpe_add(ecd_bpe *bpe, const ecd_vocab *vocab, const char *left, size_t left_size, const char *right,
                       size_t right_size, ecd_diag *diag);
ecd_status ecd_bpe_finish(ecd_bpe *bpe, ecd_diag *diag);
void ecd_bpe_free(ecd_bpe *bpe);
// Adds the ids of a word, valid UTF-8.
ecd_status ecd_bpe_encode(const ecd_bpe *bpe, const ecd_vocab *vocab, const char *word, size_t size, ecd_ids *out,
                          ecd_diag *diag);

// A unigram language model (Kudo, arXiv 1804.10959): the segmentation with the largest sum of scores. Runs of unknown
// characters make one unknown piece. Source: sentencepiece src/unigram_model.cc (EncodeOptimized), tokenizers
// src/models/unigram/model.rs, which differ in the type that sums have.
typedef struct ecd_unigram {
    ecd_vocab pieces; // those that a text may be cut into
    double *scores;   // [limit] by id; owned
    int32_t limit;
    double least;     // score of the pieces: an unknown character's is 10 less
    int32_t unknown;  // -1: a character that is no piece is an error
    bool single;      // sums in float, as sentencepiece's
} ecd_unigram;

void ecd_unigram_free(ecd_unigram *unigram);
ecd_status ecd_unigram_encode(const ecd_unigram *unigram, const char *word, size_t size, ecd_ids *out, ecd_diag *diag);

#endif
