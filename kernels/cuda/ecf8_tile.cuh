// What kernels that decode tiles have in common: what they are called with, whose turn which tile is, the block's shared memory
// with the table of the block's container, and the report at the end.
#ifndef ECD_KERNELS_CUDA_ECF8_TILE_CUH
#define ECD_KERNELS_CUDA_ECF8_TILE_CUH

#include "kernels/cuda/ecf8_image.h"
#include "kernels/cuda/ecf8_output.cuh"
#include "kernels/cuda/ecf8_warp.cuh"

enum { ECD_ECF8_THREADS = ECD_ECF8_WARPS * 32 };

// Dynamic shared memory: the table at a multiple of its size, because then its address needs no addition; rings before it
// as far as there is room, the others behind. Wherever shared memory begins, this is enough.
enum {
    ECD_ECF8_RINGS_BYTES = ECD_ECF8_TABLE_BYTES + (ECD_ECF8_WARPS + 1) * ECD_ECF8_RING_BYTES,
    ECD_ECF8_SHARED_BYTES = ECD_ECF8_RINGS_BYTES + ECD_ECF8_WARPS * ECD_MBARRIER_BYTES, // one a warp, for its bulk copies
};

// What a kernel is called with.
struct ecd_ecf8_work {
    const ecd_ecf8_tensor *tensors;
    const ecd_ecf8_block *blocks;
    uint8_t *out;
    uint32_t *faults, *status; // a count; a place for each warp
    uint32_t end[ECD_ECF8_RUNS]; // the first block behind each run
};

static inline ecd_ecf8_work ecd_ecf8_work_of(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status)
{
    const ecd_ecf8_tensor *tensors = (const ecd_ecf8_tensor *)image;
    return {tensors, (const ecd_ecf8_block *)(tensors + plan->tensor_count), (uint8_t *)out, status, status + 1, {0}};
}

// A tile, or a piece of one.
struct ecd_ecf8_job {
    const ecd_ecf8_tensor *tensor;
    uint32_t tile;
    uint64_t first;       // its first weight
    uint32_t weights, groups; // that the tensor has of it
    uint64_t words_begin, words_end; // bytes
    uint32_t patch_begin, patch_end, crc; // the tile's
    uint8_t *out; // of its first weight
    uint32_t in_tile;    // where its first weight is in the tile
    const uint32_t *stop; // from which it goes on; NULL: the tile's beginning
    bool ends_tile;
};

// The stop behind a tile's piece.
static __device__ __forceinline__ uint32_t *ecd_ecf8_stop_behind(const ecd_ecf8_tensor *t, uint32_t tile, uint32_t piece)
{
    return t->stops + ((uint64_t)tile * (t->pieces - 1) + piece) * ECD_ECF8_STOP_WORDS;
}

// Where a tile's words are taken up to at a stop; whatever the stop says, among them.
static __device__ __forceinline__ uint64_t ecd_ecf8_words_at(const ecd_ecf8_job &j, const uint32_t *stop)
{
    const uint64_t at = j.words_begin + 2 * (uint64_t)stop[ECD_ECF8_STOP_WORDS - 1];
    return at < j.words_end ? at : j.words_end;
}

// Of the tile the piece.
static __device__ __forceinline__ void ecd_ecf8_cut(ecd_ecf8_job &j, uint32_t piece, uint32_t weight_bytes)
{
    const ecd_ecf8_tensor *t = j.tensor;
    j.in_tile = piece * t->piece_groups * ECF8_GROUP;
    j.first += j.in_tile;
    j.out += (uint64_t)j.in_tile * weight_bytes;
    j.weights -= j.in_tile;
    j.ends_tile = j.weights <= t->piece_groups * ECF8_GROUP;
    j.weights = j.ends_tile ? j.weights : t->piece_groups * ECF8_GROUP;
    j.groups = (j.weights + ECF8_GROUP - 1) / ECF8_GROUP;
    j.stop = piece ? ecd_ecf8_stop_behind(t, j.tile, piece - 1) : NULL;
    const uint64_t begin = piece ? ecd_ecf8_words_at(j, j.stop) : j.words_begin;
    j.words_end = j.ends_tile ? j.words_end : ecd_ecf8_words_at(j, ecd_ecf8_stop_behind(t, j.tile, piece));
    j.words_begin = begin;
}

// That a warp's number is the same in all its lanes must be seen by the compiler: else it takes every branch that hangs
// on it for one at which a warp may part, and checks before each vote.
static __device__ __forceinline__ uint32_t ecd_ecf8_warp_number()
{
    return __shfl_sync(ECD_ALL_LANES, threadIdx.x / 32, 0);
}

// The warp's tile. Found again after the main loop, instead of being kept in registers through it.
static __device__ __forceinline__ ecd_ecf8_job ecd_ecf8_find_tile(const ecd_ecf8_work &k, bool bf16)
{
    const ecd_ecf8_block *block = k.blocks + blockIdx.x;
    const ecd_ecf8_tensor *t = k.tensors + block->tensor;
    const uint32_t number = block->tiles[ecd_ecf8_warp_number()], weight_bytes = bf16 ? 2 : t->own_bytes;
    ecd_ecf8_job j;
    j.tensor = t;
    j.tile = block->pieces == 1 ? number : number / block->pieces;
    j.first = (uint64_t)j.tile * t->tile_weights;
    const uint64_t left = t->count - j.first;
    j.weights = left < t->tile_weights ? (uint32_t)left : t->tile_weights;
    j.groups = (j.weights + ECF8_GROUP - 1) / ECF8_GROUP;
    j.out = k.out + (t->out_at + j.first * weight_bytes);
    j.in_tile = 0;
    j.stop = NULL;
    j.ends_tile = true;
    if (t->kind > ECD_ECF8_KIND_SINGLES)
        return j;
    const uint4 *entry = (const uint4 *)(t->directory + (uint64_t)j.tile * 16);
    const uint4 a = entry[0], b = entry[1];
    j.words_begin = 2 * (a.x | (uint64_t)(a.y & 0xffff) << 32);
    j.words_end = 2 * (b.x | (uint64_t)(b.y & 0xffff) << 32);
    j.patch_begin = a.z;
    j.patch_end = b.z;
    j.crc = a.w;
    if (block->pieces > 1)
        ecd_ecf8_cut(j, number % block->pieces, weight_bytes);
    return j;
}

// A weight in the tensor's own dtype, of its symbol and what the plane has for it.
static __device__ uint32_t ecd_ecf8_own_weight(const ecd_ecf8_tensor *t, uint32_t symbol, uint64_t weight)
{
    if (t->kind == ECD_ECF8_KIND_PAIRS) {
        const uint64_t in_group = weight % ECF8_GROUP;
        const uint32_t nibble = t->plane[weight / ECF8_GROUP * 64 + in_group % 64] >> (in_group / 64 * 4);
        return symbol << 3 | (nibble & 7) | (nibble & 8) << 4;
    }
    if (t->own_bytes == 1)
        return symbol;
    const uint32_t rest = t->plane[weight];
    return t->dtype == ECF8_BF16 ? symbol << 7 | (rest & 0x7f) | (rest & 0x80) << 8 : symbol << 8 | rest;
}

struct ecd_ecf8_places {
    uint32_t *table;
    uint8_t *ring;
};

static __device__ __forceinline__ ecd_ecf8_places ecd_ecf8_place(uint8_t *base, uint32_t warp)
{
    const uint32_t begin = ecd_shared_address(base);
    const uint32_t gap = (0u - begin) & (ECD_ECF8_TABLE_BYTES - 1), before = gap / ECD_ECF8_RING_BYTES;
    const uint32_t ring = warp < before ? warp * ECD_ECF8_RING_BYTES
                                        : gap + ECD_ECF8_TABLE_BYTES + (warp - before) * ECD_ECF8_RING_BYTES;
    return {(uint32_t *)(base + gap), base + ring};
}

// What a coded block's threads do first: the table, then each warp's own place. Warps without a tile are done after it.
static __device__ __forceinline__ void ecd_ecf8_open_block(const ecd_ecf8_work &k, uint8_t *shared, ecd_ecf8_codes *codes,
                                                           ecd_ecf8_warp &w)
{
    const ecd_ecf8_block *block = k.blocks + blockIdx.x;
    const ecd_ecf8_tensor *t = k.tensors + block->tensor;
    const ecd_ecf8_places places = ecd_ecf8_place(shared, ecd_ecf8_warp_number());
    ecd_ecf8_order_symbols(codes, t->tables + block->table * (ECD_ECF8_SYMBOLS / 2));
    ecd_ecf8_build_table(places.table, codes, t->code_bits, t->payload);
    w.below = ecd_keep((1u << threadIdx.x % 32) - 1);
    w.table = ecd_keep(ecd_shared_address(places.table));
    w.ring = __shfl_sync(ECD_ALL_LANES, ecd_shared_address(places.ring), 0);
    w.arrival = ecd_shared_address(shared + ECD_ECF8_RINGS_BYTES) + ecd_ecf8_warp_number() * ECD_MBARRIER_BYTES;
}

static __device__ __forceinline__ void ecd_ecf8_report(const ecd_ecf8_work &k, uint32_t fault)
{
    if (threadIdx.x % 32)
        return;
    k.status[blockIdx.x * ECD_ECF8_WARPS + threadIdx.x / 32] = fault;
    if (fault)
        atomicAdd(k.faults, 1u);
}

#endif
