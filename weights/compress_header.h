// The headers of a compressed tensor file: the one that it gets, and the original's, which it carries. Internal.
#ifndef ECD_WEIGHTS_COMPRESS_HEADER_H
#define ECD_WEIGHTS_COMPRESS_HEADER_H

#include "weights/compress_internal.h"
#include "weights/writer.h"

typedef struct cJSON cJSON;

typedef struct ecd_original {
    const ecd_checkpoint *cp; // borrowed
    bool remade;              // it has no header of its own: a torch file, or a component of a single file
    bool quantize;            // what becomes of the tensors
    bool expand;              // of published ECF8: what it was made from counts, as its notes say
    bool kept;                // decompressing gives back the very file
    char *plain;              // the header that decompressing writes; owned
    cJSON *header, *metadata; // owned; no header where remade
} ecd_original;

// Is this tensor rounded to E4M3?
bool ecd_original_quantizes(const ecd_original *original, const ecd_tensor *tensor);
// Fills plain, metadata and kept from cp, remade and quantize.
ecd_status ecd_original_read(ecd_original *original, ecd_diag *diag);
void ecd_original_free(ecd_original *original);
// "F8_E4M3"; of a type that is not known the file's own spelling.
const char *ecd_original_dtype(const ecd_original *original, const ecd_tensor *tensor);
// No header of the compressed file is longer. twins[i] != i: an alias.
uint64_t ecd_original_room(const ecd_original *original, const size_t *twins);

// "a.weight" -> "a.weight_scale", "a.weight.ecf8"; the caller frees.
char *ecd_join(const char *a, const char *b);

#endif
