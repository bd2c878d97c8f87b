// How the bytes of a part to decode (ecd_decode_part) lie in memory: what copies them and what decodes them agree here.
#ifndef ECD_KERNELS_DECODE_PART_H
#define ECD_KERNELS_DECODE_PART_H

#include "codec/published.h"
#include "kernels/backend.h"

enum { ECD_DECODE_ALIGN = 64 }; // of each piece, and so of each part

static inline uint64_t ecd_decode_rounded(uint64_t bytes)
{
    return (bytes + ECD_DECODE_ALIGN - 1) / ECD_DECODE_ALIGN * ECD_DECODE_ALIGN;
}

// A part is one piece, its container, or the buffers of its group in the order of ecf8_published_part.
static inline int ecd_decode_part_pieces(const ecd_decode_part *part)
{
    return part->group ? ECF8_PUBLISHED_PARTS : 1;
}

ecf8_published_buffer ecd_decode_part_piece(const ecd_decode_part *part, int index);
uint64_t ecd_decode_part_bytes(const ecd_decode_part *part); // of all pieces, each rounded
// Copies them to host memory of that size.
void ecd_decode_part_lay(const ecd_decode_part *part, void *to);

#endif
