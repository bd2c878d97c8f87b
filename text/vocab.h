// A vocabulary: byte strings with ids. Sorted arrays and binary search, so that no file can make a look-up slow.
#ifndef ECD_TEXT_VOCAB_H
#define ECD_TEXT_VOCAB_H

#include "base/status.h"

// The most pieces, the largest id, and the longest piece.
enum { ECD_VOCAB_MAX = 1 << 22, ECD_PIECE_MAX_BYTES = 1024 };

typedef struct ecd_piece {
    uint32_t begin, size; // in the blob
    int32_t id;
} ecd_piece;

typedef struct ecd_vocab {
    char *blob; // all pieces; owned
    size_t blob_size, blob_capacity;
    ecd_piece *pieces; // sorted by their bytes once finished; owned
    size_t count, capacity;
    uint32_t *by_id; // [id_limit] index into pieces plus 1, 0 for an id that none has; owned
    int32_t id_limit;
} ecd_vocab;

// Pieces [low, high) of the sorted vocabulary that begin with the `depth` bytes narrowed by so far.
typedef struct ecd_vocab_range {
    size_t low, high, depth;
} ecd_vocab_range;

void ecd_vocab_free(ecd_vocab *vocab); // leaves it zeroed

// ECD_DATA for a piece that is empty or too long, an id out of range, or too many of them.
ecd_status ecd_vocab_add(ecd_vocab *vocab, const char *text, size_t size, int64_t id, ecd_diag *diag);
// Sorts. ECD_DATA for a piece that comes twice, or an id that two pieces share.
ecd_status ecd_vocab_finish(ecd_vocab *vocab, ecd_diag *diag);

// -1 if it is not there.
int32_t ecd_vocab_find(const ecd_vocab *vocab, const char *text, size_t size);
// NULL for an id that no piece has. Not NUL-terminated.
const char *ecd_vocab_piece(const ecd_vocab *vocab, int32_t id, size_t *size);

static inline ecd_vocab_range ecd_vocab_all(const ecd_vocab *vocab)
{
    return (ecd_vocab_range){.high = vocab->count};
}

// Narrows to the pieces whose next byte is `byte`; false if there are none.
bool ecd_vocab_narrow(const ecd_vocab *vocab, ecd_vocab_range *range, char byte);
// The id of the piece that is just the bytes narrowed by, or -1.
int32_t ecd_vocab_whole(const ecd_vocab *vocab, const ecd_vocab_range *range);
// The longest piece that text[at, size) begins with: its id and *length, or -1.
int32_t ecd_vocab_longest(const ecd_vocab *vocab, const char *text, size_t size, size_t at, size_t *length);

#endif
