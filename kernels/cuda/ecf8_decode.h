// Decoding ECF8 containers (docs/FORMAT.md) on the device: all tensors of a block of the model, of whatever kind, in one launch.
//
//     ecf8_open each blob on the host, copy it to the device    the metadata is checked once, there
//     ecd_ecf8_plan_make(...)                                   which warp decodes which tile
//     copy plan.image to the device
//     ecd_ecf8_decode(...)                                      as often as the weights are needed
//
// A warp decodes a tile, twelve warps of a block share a table. Nothing is allocated, nothing waits: the calls put kernels
// into a stream.
//
// A tile is one warp's chain of steps, whose time is the least that a launch takes. Where tiles are too few to hide it they are
// cut into pieces for more warps: a launch with checksums, which reads each tile from its beginning, notes where the lanes stand
// behind each piece (its stop), and ecd_ecf8_decode_pieces begins there. Nothing of it is in the file.
//
// A damaged stream never makes a kernel read or write outside what it was given; each tile gets a status
// (ECF8_OK, ECF8_ERR_STREAM, ECF8_ERR_PATCH, and with checksums ECF8_ERR_DATA_CHECKSUM).
#ifndef ECD_KERNELS_CUDA_ECF8_DECODE_H
#define ECD_KERNELS_CUDA_ECF8_DECODE_H

#include <stdbool.h>

#include "base/status.h"
#include "codec/ecf8.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ECD_ECF8_WARPS = 12, // of a block of threads
    ECD_ECF8_BLOCKS_OF_SM = 3, // 36 warps, by registers
    ECD_ECF8_BLOB_ALIGN = 64,
    ECD_ECF8_OUT_ALIGN = 16,
};

// Tiles first_tile .. first_tile + tile_count - 1 of a container. Parts of a tensor are chunks small enough for the level-2
// cache, or rows.
typedef struct ecd_ecf8_part {
    const ecf8_view *view;   // of the host's copy, which is needed only while the plan is made
    const void *device_blob; // the same bytes, aligned to ECD_ECF8_BLOB_ALIGN
    uint64_t first_tile, tile_count;
    uint64_t out_bytes_at; // where the first tile's first weight goes, in bytes from `out`; a multiple of ECD_ECF8_OUT_ALIGN
    bool alone;            // decoded by ecd_ecf8_decode_part, not together with the others: its tiles are shared out for that
    // Blocks of threads that the device holds at once, ECD_ECF8_BLOCKS_OF_SM of each multiprocessor: where the tiles that are
    // decoded together do not fill them, each gets fewer than ECD_ECF8_WARPS. 0: full blocks.
    uint32_t at_once;
    uint32_t piece_groups; // groups of a piece, a multiple of 8; 0: tiles are not cut
    void *stops;           // of pieces: device memory of ecd_ecf8_stops_bytes, aligned to 4
} ecd_ecf8_part;

// Tiles that a part can name: those of the container; constants have some too.
uint64_t ecd_ecf8_tile_count(const ecf8_view *view);
uint32_t ecd_ecf8_tile_weights(const ecf8_view *view);

// How many tiles from first_tile on decode to at most `most_bytes` (at least one, if there is one): a part small enough that the
// product finds it in the level-2 cache.
uint64_t ecd_ecf8_tiles_within(const ecf8_view *view, ecf8_form form, uint64_t first_tile, uint64_t most_bytes);

// How many groups its pieces are to have, for so many tiles decoded together with it; 0: tiles are many enough, or cannot be cut.
uint32_t ecd_ecf8_piece_groups(const ecf8_view *view, uint64_t tiles_together, uint32_t at_once);
uint64_t ecd_ecf8_stops_bytes(const ecd_ecf8_part *part);

typedef struct ecd_ecf8_tensor ecd_ecf8_tensor; // of the image; ecf8_image.h
typedef struct ecd_ecf8_block ecd_ecf8_block;

// Kinds of tiles, which lie together in a plan: a block of threads knows by its number alone which kind it has.
typedef enum ecd_ecf8_run {
    ECD_ECF8_RUN_PAIRS,
    ECD_ECF8_RUN_BYTES,  // singles to weights of one byte
    ECD_ECF8_RUN_HALVES, // singles to weights of two bytes
    ECD_ECF8_RUN_PLAIN,  // raw and constant
    ECD_ECF8_RUNS,
} ecd_ecf8_run;

typedef struct ecd_ecf8_plan {
    void *image; // what the device needs to know, to be copied there as it is
    size_t image_bytes;
    uint32_t tensor_count, block_count, run_blocks[ECD_ECF8_RUNS]; // blocks lie in the order of the runs
    uint32_t piece_block_count, piece_run_blocks[ECD_ECF8_RUNS];    // behind them those of pieces; none where nothing is cut
    ecf8_form form; // ECF8_FORM_NATIVE or ECF8_FORM_BF16: the bits of libecf8, but that BF16 tensors keep NaNs as they are
    uint64_t status_count; // u32 that a launch writes
} ecd_ecf8_plan;

// An upper bound of the image, at which ecd_ecf8_plan_make always has room; 0 where the parts make no sense.
size_t ecd_ecf8_plan_bytes(const ecd_ecf8_part *parts, uint32_t part_count);

// Makes the image in `memory` (host, aligned to 16). ECD_FAIL-like statuses: a part outside of its tensor, an offset or blob
// that is not aligned, a form that a GPU does not write, too little memory.
ecd_status ecd_ecf8_plan_make(const ecd_ecf8_part *parts, uint32_t part_count, ecf8_form form, void *memory,
                              size_t memory_bytes, ecd_ecf8_plan *plan, ecd_diag *diag);

// Decodes all parts of the plan to `out` (device). `image`: the plan's, on the device, aligned to 16. `status` (device, plan.status_count
// u32): [0] is added the number of tiles that were damaged, set it to 0 before the first launch; the rest is
// overwritten. `stream`: a cudaStream_t. `checksums`: compare each tile's CRC32C too, form NATIVE only: for the time
// when a model is loaded. Returns a cudaError_t, 0 for none.
int ecd_ecf8_decode(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status, int checksums, void *stream);

// The same, without checksums, by pieces: once a launch with checksums over the whole plan has found no fault.
int ecd_ecf8_decode_pieces(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status, void *stream);

// As ecd_ecf8_decode, of one part of the plan.
int ecd_ecf8_decode_part(const ecd_ecf8_plan *plan, const void *image, uint32_t part, void *out, uint32_t *status,
                         int checksums, void *stream);

// What a launch left in `status` (copied to the host): the first damaged tile's ecf8_status, its part and tile. ECF8_OK
// where there is none.
ecf8_status ecd_ecf8_first_fault(const ecd_ecf8_plan *plan, const uint32_t *status, uint32_t *part, uint64_t *tile);

#ifdef __cplusplus
}
#endif

#endif
