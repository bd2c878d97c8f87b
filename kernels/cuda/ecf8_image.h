// What the decoding kernels are told: the image of a plan (ecf8_decode.h), tensors first, then blocks.
#ifndef ECD_KERNELS_CUDA_ECF8_IMAGE_H
#define ECD_KERNELS_CUDA_ECF8_IMAGE_H

#include "kernels/cuda/ecf8_decode.h"

typedef enum ecd_ecf8_kind {
    ECD_ECF8_KIND_PAIRS,
    ECD_ECF8_KIND_SINGLES, // with or without a plane
    ECD_ECF8_KIND_RAW,
    ECD_ECF8_KIND_CONSTANT,
} ecd_ecf8_kind;

// A part. Pointers are the device's, into the blob.
struct ecd_ecf8_tensor {
    const uint8_t *tables, *directory, *patches, *plane, *words;
    uint64_t count;        // weights of the whole tensor
    uint64_t out_at;       // bytes from `out` to where the tensor's weight 0 would stand; modulo 2^64
    uint32_t tile_weights;
    uint32_t kind, dtype;  // ecd_ecf8_kind, ecf8_dtype
    uint32_t code_bits;
    uint32_t payload;      // ecd_ecf8_payload (ecf8_table.cuh)
    uint32_t plane_mask;   // singles of two bytes: the bits of an output pair that come from the plane
    uint32_t constant;     // as a pair of 16 bits or four bytes, in the form asked for
    uint32_t own_bytes;    // of a weight in the blob's own dtype
    uint32_t to_bf16;      // 1: BF16 is wanted of another dtype
    uint32_t run, first_block, block_count; // its blocks; for the host
    uint32_t piece_groups, pieces; // pieces of a whole tile; 0 and 1: tiles are not cut
    uint32_t *stops;               // [tiles][pieces - 1][ECD_ECF8_STOP_WORDS], or NULL
};

// Where a warp stands between two pieces of a tile: each lane's state (ecf8_warp.cuh), then how many of the tile's words are taken.
enum { ECD_ECF8_STOP_WORDS = 33 };

// A block of threads: up to ECD_ECF8_WARPS tiles, or pieces of tiles, of one tensor and one table.
struct ecd_ecf8_block {
    uint32_t tensor, table, count;
    uint32_t pieces;                // of a tile; 1: whole ones
    uint32_t tiles[ECD_ECF8_WARPS]; // tile * pieces + piece
};

#endif
