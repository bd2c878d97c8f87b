// SentencePiece's precompiled character map: a double-array trie (darts-clone's units) from byte strings to places in
// a block of NUL-terminated replacements.
//
// Layout: u32 (little-endian) bytes of the trie, the trie's u32 units, the replacements. Source: sentencepiece
// src/normalizer.cc (Normalizer::DecodePrecompiledCharsMap), darts-clone darts.h (Details::DoubleArrayUnit).
#ifndef ECD_TEXT_CHARSMAP_H
#define ECD_TEXT_CHARSMAP_H

#include "base/status.h"

typedef struct ecd_charsmap {
    uint8_t *bytes; // the whole map; owned
    const uint8_t *units;
    size_t unit_count;
    const char *texts;
    size_t texts_size;
} ecd_charsmap;

// Copies the map. ECD_DATA where its lengths do not agree, or a replacement lies outside or is no UTF-8.
ecd_status ecd_charsmap_new(const void *data, size_t size, ecd_charsmap *out, ecd_diag *diag);
ecd_status ecd_charsmap_new_base64(const char *text, size_t size, ecd_charsmap *out, ecd_diag *diag);
void ecd_charsmap_free(ecd_charsmap *map); // leaves it zeroed

// The replacement of a prefix of text[0, size): of the longest that has one, or of the shortest. NULL if none has;
// otherwise *length is the prefix's and *replacement_size the replacement's.
const char *ecd_charsmap_find(const ecd_charsmap *map, const char *text, size_t size, bool longest, size_t *length,
                              size_t *replacement_size);

#endif
