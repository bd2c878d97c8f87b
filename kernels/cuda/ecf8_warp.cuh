// A warp that takes the codes of one tile of an ECF8 container (docs/FORMAT.md, "The words of a tile"): a lane of the format
// is a lane of the warp. What codec/lanes_scalar.c says in C, in as few instructions as were found.
//
// Words. The tile's words come through a ring in shared memory, a stage of 512 bytes at a time, by cp.async or (a choice of the
// build: ECD_HAS_BULK_COPIES) by a bulk copy, which one lane starts and an mbarrier tells all lanes the end of. Eight steps
// take 512 bytes at most, so the ring is looked after only once in eight steps (a chunk). Behind the ring lies a copy of its
// first stage, so that no look-up wraps. Whatever the words say, look-ups stay within ring and copy; behind the tile's end
// there is anything, and the count of words at the end finds that it was taken.
//
// A lane's state is its window and `left`. The window holds the valid bits times 4, what was consumed above them. The low
// 5 bits of `left` are valid - L in two's complement, -12..15: bit 4, the sign, is set where fewer than L bits
// are valid, and to take a word is to clear it. Shifting the window right by `left` leaves the next L bits as an offset
// into the table, whose entries have 32 - length in their low 5 bits: adding a whole entry takes its code. What that
// leaves above the 5 bits does not matter, since the shift takes its count modulo 32.
#ifndef ECD_KERNELS_CUDA_ECF8_WARP_CUH
#define ECD_KERNELS_CUDA_ECF8_WARP_CUH

#include "kernels/cuda/ptx.cuh"

enum {
    ECD_ECF8_STAGE = 512,
    ECD_ECF8_RING = 3 * ECD_ECF8_STAGE,
    ECD_ECF8_RING_BYTES = ECD_ECF8_RING + ECD_ECF8_STAGE, // with the copy of the first stage
    ECD_ECF8_CHUNK_STEPS = 8,
};

#define ECD_ALL_LANES 0xffffffffu

struct ecd_ecf8_warp {
    uint32_t below;   // the mask of the lanes before this one
    uint32_t table;   // shared address, a multiple of its 16 KB
    uint32_t offsets; // the mask of an offset into it: 4 (2^L - 1)
    uint32_t ring;    // shared address
    uint32_t arrival; // shared address of the mbarrier of its bulk copies
    // The state.
    uint32_t window, left;
    uint32_t place;     // shared address of the next word
    uint32_t refill_at; // the place from which on the next stage is fetched
    // What is fetched next, as far as more than 0 bytes are left of it: by a lane 16 bytes from `source`, or by one for all.
    const uint8_t *source;
    int32_t source_bytes;
    uint32_t parity; // of the bulk copies' phase that was begun last
};

// Starts the copy of the next stage to the ring, at shared address `to`, and to the copy if that is the first stage.
static __device__ __forceinline__ void ecd_ecf8_fetch(ecd_ecf8_warp &w, uint32_t to)
{
    const uint32_t at = to + threadIdx.x % 32 * 16, bytes = w.source_bytes > 0 ? 16 : 0;
    ecd_cp_async_at<16>(at, w.source, bytes);
    if (to == w.ring)
        ecd_cp_async_at<16>(at + ECD_ECF8_RING, w.source, bytes);
    ecd_cp_async_commit();
    w.source += ECD_ECF8_STAGE;
    w.source_bytes -= ECD_ECF8_STAGE;
}

// The same of `size` bytes by bulk copies, a phase of the mbarrier. What lies behind the tile's end stays as it is.
template <uint32_t size> static __device__ __forceinline__ void ecd_ecf8_fetch_bulk(ecd_ecf8_warp &w, uint32_t to)
{
    const int32_t most = size, bytes = w.source_bytes < most ? w.source_bytes : most; // multiples of 16
    const uint32_t stage = ECD_ECF8_STAGE, first = size > stage && bytes > (int32_t)stage ? stage : (uint32_t)bytes;
    if (ecd_elect()) {
        const uint32_t there = bytes > 0 ? (uint32_t)bytes : 0;
        ecd_mbarrier_expect(w.arrival, to == w.ring && there ? there + first : there);
        if (there) {
            ecd_bulk_copy(to, w.source, there, w.arrival);
            if (to == w.ring)
                ecd_bulk_copy(to + ECD_ECF8_RING, w.source, first, w.arrival);
        }
    }
    w.source += size;
    w.source_bytes -= most;
}

// A lane's place between two steps in one word, of which all zeros is a tile's beginning: the bits that are left, and how many
// (at most 27). ecd_ecf8_begin takes it.
enum { ECD_ECF8_LEFT_BITS = 27 };

static __device__ __forceinline__ uint32_t ecd_ecf8_lane_state(const ecd_ecf8_warp &w, uint32_t code_bits)
{
    const uint32_t valid = ((w.left ^ 16) & 31) - 16 + code_bits;
    return ((w.window >> 2) & ((1u << valid) - 1)) | valid << ECD_ECF8_LEFT_BITS;
}

// The words to come are bytes begin .. end - 1 from `words`, which is aligned to 16.
static __device__ __forceinline__ void ecd_ecf8_begin(ecd_ecf8_warp &w, const uint8_t *words, uint64_t begin, uint64_t end,
                                                      uint32_t code_bits, uint32_t lane_state)
{
    const uint64_t from = (begin & ~(uint64_t)15) + (ECD_HAS_BULK_COPIES ? 0 : threadIdx.x % 32 * 16);
    w.source = words + from;
    w.source_bytes = (int32_t)(end - from); // a tile takes at most 65536 words
    w.parity = 0;
    if (ECD_HAS_BULK_COPIES) {
        w.source = (const uint8_t *)__shfl_sync(ECD_ALL_LANES, (unsigned long long)w.source, 0); // as below
        w.source_bytes = __shfl_sync(ECD_ALL_LANES, (w.source_bytes + 15) & ~15, 0);
        if (threadIdx.x % 32 == 0)
            ecd_mbarrier_init(w.arrival, 1);
        __syncwarp();
        ecd_ecf8_fetch_bulk<ECD_ECF8_RING>(w, w.ring);
        ecd_mbarrier_wait(w.arrival, 0);
    } else {
#pragma unroll
        for (uint32_t stage = 0; stage < ECD_ECF8_RING; stage += ECD_ECF8_STAGE)
            ecd_ecf8_fetch(w, w.ring + stage);
        ecd_cp_async_wait<1>();
    }
    __syncwarp();
    w.offsets = (4u << code_bits) - 4;
    w.window = lane_state << (32 - ECD_ECF8_LEFT_BITS) >> (30 - ECD_ECF8_LEFT_BITS);
    w.left = (lane_state >> ECD_ECF8_LEFT_BITS) - code_bits;
    w.place = __shfl_sync(ECD_ALL_LANES, w.ring + (uint32_t)(begin & 15), 0); // the same in all, as the compiler shall see
    w.refill_at = w.ring + ECD_ECF8_STAGE;
}

// Before each chunk: a stage that was used up is fetched anew. The two others are there then, more than a chunk can take.
static __device__ __forceinline__ void ecd_ecf8_look_after_ring(ecd_ecf8_warp &w)
{
    if (w.place < w.refill_at)
        return;
    if (ECD_HAS_BULK_COPIES) {
        ecd_mbarrier_wait(w.arrival, w.parity); // the stage that was fetched last
        __syncwarp();
        ecd_ecf8_fetch_bulk<ECD_ECF8_STAGE>(w, w.refill_at - ECD_ECF8_STAGE);
        w.parity ^= 1;
    } else {
        __syncwarp();
        ecd_ecf8_fetch(w, w.refill_at - ECD_ECF8_STAGE);
        ecd_cp_async_wait<1>();
        __syncwarp();
    }
    if (w.refill_at == w.ring + ECD_ECF8_RING) {
        w.place -= ECD_ECF8_RING;
        w.refill_at = w.ring;
    }
    w.refill_at += ECD_ECF8_STAGE;
}

// No copy is on the way any more.
static __device__ __forceinline__ void ecd_ecf8_let_arrive(const ecd_ecf8_warp &w)
{
    if (ECD_HAS_BULK_COPIES)
        ecd_mbarrier_wait(w.arrival, w.parity);
    else
        ecd_cp_async_wait<0>();
}

// A step: lanes that lack bits take a word each, in their order; then each takes a code. %0 window, %1 left, %2 place.
#define ECD_ECF8_STEP(entry, below, offsets, table)                                                                    \
    "{ .reg .pred p; .reg .b32 w, r, m;\n"                                                                             \
    "and.b32 r, %1, 16;\n"                                                                                             \
    "setp.ne.u32 p, r, 0;\n"                                                                                           \
    "vote.sync.ballot.b32 m, p, 0xffffffff;\n"                                                                         \
    "and.b32 r, m, " below ";\n"                                                                                       \
    "popc.b32 r, r;\n"                                                                                                 \
    "mad.lo.u32 r, r, 2, %2;\n"                                                                                        \
    "@p ld.shared.u16 w, [r];\n"                                                                                       \
    "@p shl.b32 %0, %0, 16;\n"                                                                                         \
    "@p mad.lo.u32 %0, w, 4, %0;\n"                                                                                    \
    "popc.b32 m, m;\n"                                                                                                 \
    "mad.lo.u32 %2, m, 2, %2;\n"                                                                                       \
    "and.b32 %1, %1, 0xffffffef;\n"                                                                                    \
    "shf.r.wrap.b32 r, %0, 0, %1;\n"                                                                                   \
    "lop3.b32 r, r, " offsets ", " table ", 0xea;\n" /* (r & offsets) | table */                                       \
    "ld.shared.u32 " entry ", [r];\n"                                                                                  \
    "add.u32 %1, %1, " entry "; }\n"

#define ECD_ECF8_2_STEPS ECD_ECF8_STEP("%3", "%5", "%6", "%7") ECD_ECF8_STEP("%4", "%5", "%6", "%7")
#define ECD_ECF8_8TH(entry) ECD_ECF8_STEP(entry, "%11", "%12", "%13")
#define ECD_ECF8_8_STEPS                                                                                               \
    ECD_ECF8_8TH("%3") ECD_ECF8_8TH("%4") ECD_ECF8_8TH("%5") ECD_ECF8_8TH("%6") ECD_ECF8_8TH("%7") ECD_ECF8_8TH("%8")  \
    ECD_ECF8_8TH("%9") ECD_ECF8_8TH("%10")

// Two steps, or the eight of a chunk; e: the entries of their codes.
static __device__ __forceinline__ void ecd_ecf8_2_steps(ecd_ecf8_warp &w, uint32_t *e)
{
#if defined(ECD_CUDA_EMU)
    uint32_t *const operands[] = {&w.window, &w.left, &w.place, e, e + 1, &w.below, &w.offsets, &w.table};
    emu_ptx(ECD_ECF8_2_STEPS, operands);
#else
    asm volatile(ECD_ECF8_2_STEPS
                 : "+r"(w.window), "+r"(w.left), "+r"(w.place), "=&r"(e[0]), "=&r"(e[1])
                 : "r"(w.below), "r"(w.offsets), "r"(w.table));
#endif
}

static __device__ __forceinline__ void ecd_ecf8_8_steps(ecd_ecf8_warp &w, uint32_t *e)
{
#if defined(ECD_CUDA_EMU)
    uint32_t *const operands[] = {&w.window, &w.left, &w.place, e,     e + 1,    e + 2,      e + 3,
                                  e + 4,     e + 5,   e + 6,    e + 7, &w.below, &w.offsets, &w.table};
    emu_ptx(ECD_ECF8_8_STEPS, operands);
#else
    asm volatile(ECD_ECF8_8_STEPS
                 : "+r"(w.window), "+r"(w.left), "+r"(w.place), "=&r"(e[0]), "=&r"(e[1]), "=&r"(e[2]), "=&r"(e[3]),
                   "=&r"(e[4]), "=&r"(e[5]), "=&r"(e[6]), "=&r"(e[7])
                 : "r"(w.below), "r"(w.offsets), "r"(w.table));
#endif
}

// Where the next word is, in bytes from `words`. The place says so once the stages fetched so far are known: refill_at is two
// before them.
static __device__ __forceinline__ int64_t ecd_ecf8_words_taken(const ecd_ecf8_warp &w, const uint8_t *words)
{
    const int64_t fetched = w.source - words - (ECD_HAS_BULK_COPIES ? 0 : threadIdx.x % 32 * 16), behind = (int32_t)(w.refill_at - w.place);
    return fetched - (ECD_ECF8_RING - ECD_ECF8_STAGE) - behind;
}

// After the last step: have all words been taken, no more, and, at a tile's end, are all bits left in the windows zero?
static __device__ __forceinline__ bool ecd_ecf8_ends_well(const ecd_ecf8_warp &w, const uint8_t *words, uint64_t end,
                                                          uint32_t code_bits, bool of_tile)
{
    const uint32_t left = ecd_ecf8_lane_state(w, code_bits) << (32 - ECD_ECF8_LEFT_BITS);
    return __all_sync(ECD_ALL_LANES, ecd_ecf8_words_taken(w, words) == (int64_t)end && (!of_tile || !left));
}

#endif
