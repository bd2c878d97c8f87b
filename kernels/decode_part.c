#include "kernels/decode_part.h"

#include <string.h>

ecf8_published_buffer ecd_decode_part_piece(const ecd_decode_part *part, int index)
{
    return part->group ? part->group->parts[index] : (ecf8_published_buffer){part->blob, part->blob_bytes};
}

uint64_t ecd_decode_part_bytes(const ecd_decode_part *part)
{
    uint64_t sum = 0;
    for (int i = 0; i < ecd_decode_part_pieces(part); i++)
        sum += ecd_decode_rounded(ecd_decode_part_piece(part, i).bytes);
    return sum;
}

void ecd_decode_part_lay(const ecd_decode_part *part, void *to)
{
    uint8_t *at = to;
    for (int i = 0; i < ecd_decode_part_pieces(part); i++) {
        ecf8_published_buffer piece = ecd_decode_part_piece(part, i);
        if (piece.bytes)
            memcpy(at, piece.data, piece.bytes);
        at += ecd_decode_rounded(piece.bytes);
    }
}
