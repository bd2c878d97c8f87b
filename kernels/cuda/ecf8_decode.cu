// The decoding kernel: blocks of twelve warps, a tile or a piece of one each, by the image of a plan; one launch for all kinds of
// containers.
#include "kernels/cuda/ecf8_checksum.cuh"
#include "kernels/cuda/ecf8_tile.cuh"

// ---------------------------------------------------------------- coded tiles

// A chunk: eight steps, four groups of pairs or two of singles, none of them short. Each word of the plane makes place for
// the same word of the next chunk.
template <int way, bool checksums>
static __device__ __forceinline__ void decode_chunk(ecd_ecf8_warp &w, ecd_ecf8_plane &p, uint32_t *plane, uint8_t *to,
                                                    ecd_ecf8_checksum &sum)
{
    const int entries = ecd_ecf8_has_pairs(way) ? 2 : 4, groups = ECD_ECF8_CHUNK_STEPS / entries;
    uint32_t e[ECD_ECF8_CHUNK_STEPS];
    ecd_ecf8_look_after_ring(w);
    ecd_ecf8_8_steps(w, e);
#pragma unroll
    for (int g = 0; g < groups; g++) {
        uint32_t x, y = 0;
        ecd_ecf8_join<way>(p, e + g * entries, plane[g], x, y);
        plane[g] = ecd_ecf8_load_plane<way>(p, groups + g);
        ecd_ecf8_store<way>(to + g * (ecd_ecf8_has_halves(way) ? 256 : 128), x, y);
        if (checksums)
            ecd_ecf8_add_group(sum, threadIdx.x % 32, x, y);
    }
    p.at += groups * ecd_ecf8_plane_stride<way>();
    if (way == ECD_ECF8_PAIRS_TO_HALVES && (e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]) & ECD_ECF8_NAN_FLAG)
        ecd_ecf8_mend_nan((uint16_t *)to, groups, 4);
}

// Puts the too rare symbols of a tile or piece right, lanes by turns. Returns false where one stands on another symbol than code 0's.
// `moved`: is added what the lane's changes are at the tile's end, for the checksum.
template <bool halves, bool checksums>
static __device__ bool patch_tile(const ecd_ecf8_job &j, uint32_t lane, uint32_t fill, uint32_t &moved)
{
    const ecd_ecf8_tensor *t = j.tensor;
    const uint32_t per_code = t->kind == ECD_ECF8_KIND_PAIRS ? 2 : 1, end = j.groups * ECF8_GROUP;
    bool good = true;
    for (uint32_t i = j.patch_begin + lane; i < j.patch_end; i += 32) {
        const uint8_t *patch = t->patches + (uint64_t)i * 3;
        const uint32_t place = (patch[0] | (uint32_t)patch[1] << 8) * per_code - j.in_tile; // those before are far behind the end
        for (uint32_t k = 0; k < per_code && place < end && place + k < end; k++) {
            const uint32_t at = place + k, shift = per_code == 2 ? 4 * k : 0, bits = per_code == 2 ? 15 : 255;
            const uint32_t was = ecd_ecf8_own_weight(t, fill >> shift & bits, j.first + at);
            const uint32_t is = ecd_ecf8_own_weight(t, patch[2] >> shift & bits, j.first + at);
            for (uint32_t byte = 0; checksums && byte < t->own_bytes; byte++)
                moved ^= ecd_crc_moved((was ^ is) >> (8 * byte) & 255, (end - at) * t->own_bytes - byte);
            if (at >= j.weights)
                continue; // thrown away
            const uint32_t before = t->to_bf16 ? ecd_ecf8_bf16_of(t->dtype, was) : was;
            const uint32_t after = t->to_bf16 ? ecd_ecf8_bf16_of(t->dtype, is) : is;
            if (halves) {
                good &= ((uint16_t *)j.out)[at] == before;
                ((uint16_t *)j.out)[at] = (uint16_t)after;
            } else {
                good &= j.out[at] == before;
                j.out[at] = (uint8_t)after;
            }
        }
    }
    return __all_sync(ECD_ALL_LANES, good);
}

// Notes the stop where so many of the tile's groups are done, if a piece ends there. The warp decodes a whole tile.
static __device__ __forceinline__ void note_stop(const ecd_ecf8_work &k, const ecd_ecf8_warp &w, uint32_t groups)
{
    const ecd_ecf8_block *block = k.blocks + blockIdx.x;
    const ecd_ecf8_tensor *t = k.tensors + block->tensor;
    if (!t->stops || !groups || groups % t->piece_groups)
        return;
    const uint32_t lane = threadIdx.x % 32, tile = block->tiles[ecd_ecf8_warp_number()];
    uint32_t *stop = ecd_ecf8_stop_behind(t, tile, groups / t->piece_groups - 1);
    const ecd_ecf8_job j = ecd_ecf8_find_tile(k, false);
    stop[lane] = ecd_ecf8_lane_state(w, t->code_bits);
    if (lane == 0)
        stop[ECD_ECF8_STOP_WORDS - 1] = (uint32_t)(ecd_ecf8_words_taken(w, t->words) - (int64_t)j.words_begin) / 2;
}

template <int way, bool checksums>
static __device__ __forceinline__ uint32_t decode_coded(const ecd_ecf8_work &k, ecd_ecf8_warp &w, const ecd_ecf8_codes *codes,
                                                        const uint32_t *checksum_table)
{
    const uint32_t entries = ecd_ecf8_has_pairs(way) ? 2 : 4, chunk_groups = ECD_ECF8_CHUNK_STEPS / entries;
    const uint32_t out_stride = ecd_ecf8_has_halves(way) ? 256 : 128;
    ecd_ecf8_checksum sum = {checksum_table, {0, 0}, out_stride, false};
    ecd_ecf8_plane p;
    uint8_t *to;
    uint32_t twice, plane[ECD_ECF8_CHUNK_STEPS / 2];
    {
        const ecd_ecf8_job j = ecd_ecf8_find_tile(k, ecd_ecf8_has_halves(way));
        ecd_ecf8_begin(w, j.tensor->words, j.words_begin, j.words_end, j.tensor->code_bits,
                       j.stop ? j.stop[threadIdx.x % 32] : 0);
        ecd_ecf8_open_plane<way>(p, j.tensor->plane, j.first / ECF8_GROUP, j.tensor->plane_mask,
                                 j.tensor->to_bf16 && j.tensor->dtype == ECF8_F16);
        to = j.out + threadIdx.x % 32 * (out_stride / 32);
        const uint32_t whole = __shfl_sync(ECD_ALL_LANES, j.weights / ECF8_GROUP / chunk_groups, 0);
        twice = __shfl_sync(ECD_ALL_LANES, j.ends_tile ? (whole ? (whole - 1) / 2 : 0) : whole / 2, 0);
    }

    // Two chunks at a time, as long as a whole one follows in the tile, of whose plane the words can be fetched ahead.
#pragma unroll
    for (uint32_t g = 0; g < chunk_groups; g++)
        plane[g] = twice ? ecd_ecf8_load_plane<way>(p, g) : 0;
#pragma unroll 1
    for (uint32_t n = twice; n; n--) {
        if (checksums)
            note_stop(k, w, 2 * (twice - n) * chunk_groups);
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            decode_chunk<way, checksums>(w, p, plane, to, sum);
            to += chunk_groups * out_stride;
        }
    }

    // The others one by one, the last of which the tensor may not fill.
    const ecd_ecf8_job j = ecd_ecf8_find_tile(k, ecd_ecf8_has_halves(way));
    const uint32_t lane = threadIdx.x % 32, groups = __shfl_sync(ECD_ALL_LANES, j.groups, 0);
#pragma unroll 1
    for (uint32_t g = 2 * twice * chunk_groups; g < groups; g++) {
        uint32_t e[4], x, y = 0;
        if (checksums)
            note_stop(k, w, g);
        ecd_ecf8_look_after_ring(w);
        ecd_ecf8_2_steps(w, e);
        if (!ecd_ecf8_has_pairs(way))
            ecd_ecf8_2_steps(w, e + 2);
        ecd_ecf8_join<way>(p, e, ecd_ecf8_load_plane<way>(p, 0), x, y);
        p.at += ecd_ecf8_plane_stride<way>();
        const int32_t left = (int32_t)(j.weights - g * ECF8_GROUP) - (int32_t)lane * 4;
        ecd_ecf8_store_some<way>(to, x, y, left);
        if (way == ECD_ECF8_PAIRS_TO_HALVES && (e[0] | e[1]) & ECD_ECF8_NAN_FLAG && left > 0)
            ecd_ecf8_mend_nan((uint16_t *)to, 1, left < 4 ? (uint32_t)left : 4);
        to += out_stride;
        if (checksums)
            ecd_ecf8_add_group(sum, lane, x, y);
    }
    ecd_ecf8_let_arrive(w);
    if (!ecd_ecf8_ends_well(w, j.tensor->words, j.words_end, j.tensor->code_bits, j.ends_tile))
        return ECF8_ERR_STREAM;
    uint32_t moved = 0;
    if (j.patch_begin != j.patch_end) {
        __syncwarp(); // what the lanes stored is there for all
        if (!patch_tile<ecd_ecf8_has_halves(way), checksums>(j, lane, codes->symbols[0], moved))
            return ECF8_ERR_PATCH;
    }
    if (checksums && ecd_ecf8_checksum_of(sum, lane, moved) != j.crc)
        return ECF8_ERR_DATA_CHECKSUM;
    return ECF8_OK;
}

// ---------------------------------------------------------------- the other modes

// Four weights a lane and turn; with checksums of a tile that is not whole groups, byte by byte at its end.
template <bool halves, bool checksums>
static __device__ uint32_t copy_raw(const ecd_ecf8_work &k, const uint32_t *checksum_table)
{
    const ecd_ecf8_job j = ecd_ecf8_find_tile(k, halves);
    const uint32_t lane = threadIdx.x % 32;
    const ecd_ecf8_tensor *t = j.tensor;
    const uint32_t own = t->own_bytes;
    const uint8_t *from = t->plane + j.first * own;
    ecd_ecf8_checksum sum = {checksum_table, {0, 0}, 128 * own, false};
    for (uint32_t g = 0; g < j.groups; g++) {
        const uint32_t at = g * ECF8_GROUP + lane * 4;
        uint32_t x = 0, y = 0;
        for (uint32_t i = 0; i < 4 && at + i < j.weights; i++) {
            uint32_t v = own == 1 ? from[at + i] : ((const uint16_t *)from)[at + i];
            if (checksums && own == 1)
                x |= v << (8 * i);
            else if (checksums)
                (i < 2 ? x : y) |= v << (i % 2 * 16);
            v = t->to_bf16 ? ecd_ecf8_bf16_of(t->dtype, v) : v;
            if (halves)
                ((uint16_t *)j.out)[at + i] = (uint16_t)v;
            else
                j.out[at + i] = (uint8_t)v;
        }
        if (checksums)
            ecd_ecf8_add_group(sum, lane, x, y);
    }
    if (!checksums)
        return ECF8_OK;
    // Of whole groups, zeros at the end; those are taken back one by one. The checksum's end is inverted.
    uint32_t c = ~ecd_ecf8_checksum_of(sum, lane, 0);
    for (uint64_t n = (j.groups * (uint64_t)ECF8_GROUP - j.weights) * own * 8; n; n--)
        c = c & 0x80000000u ? (c ^ 0x82f63b78u) << 1 | 1 : c << 1;
    return ~c == __ldg((const uint32_t *)(t->directory + j.tile * 4)) ? ECF8_OK : ECF8_ERR_DATA_CHECKSUM;
}

static __device__ void fill_constant(const ecd_ecf8_work &k, bool halves)
{
    const ecd_ecf8_job j = ecd_ecf8_find_tile(k, halves);
    for (uint32_t i = threadIdx.x % 32; i < j.weights; i += 32)
        if (halves)
            ((uint16_t *)j.out)[i] = (uint16_t)j.tensor->constant;
        else
            j.out[i] = (uint8_t)j.tensor->constant;
}

// ---------------------------------------------------------------- the kernels

// A block of coded tiles.
template <int way, bool checksums>
static __device__ __forceinline__ void coded_block(const ecd_ecf8_work &k, uint8_t *shared, ecd_ecf8_codes *codes,
                                                   uint32_t *checksum_table)
{
    ecd_ecf8_warp w;
    ecd_ecf8_open_block(k, shared, codes, w);
    if (checksums)
        ecd_crc_build(checksum_table, ecd_ecf8_has_halves(way) ? 256 : 128);
    if (ecd_ecf8_warp_number() < k.blocks[blockIdx.x].count)
        ecd_ecf8_report(k, decode_coded<way, checksums>(k, w, codes, checksum_table));
}

// A block of raw tiles or constants.
template <bool bf16, bool checksums>
static __device__ __forceinline__ void plain_block(const ecd_ecf8_work &k, uint32_t *checksum_table)
{
    const ecd_ecf8_block *block = k.blocks + blockIdx.x;
    const ecd_ecf8_tensor *t = k.tensors + block->tensor;
    if (checksums)
        ecd_crc_build(checksum_table, t->own_bytes * ECF8_GROUP);
    if (ecd_ecf8_warp_number() >= block->count)
        return;
    uint32_t fault = ECF8_OK;
    if (t->kind == ECD_ECF8_KIND_CONSTANT)
        fill_constant(k, bf16 || t->own_bytes == 2);
    else if (bf16 || t->own_bytes == 2)
        fault = copy_raw<true, checksums>(k, checksum_table);
    else
        fault = copy_raw<false, checksums>(k, checksum_table);
    ecd_ecf8_report(k, fault);
}

// Which way a block goes hangs on its number and on what the kernel was called with, nothing else, so that the compiler
// knows it to be the same in a whole warp (ecd_ecf8_warp_number).
template <bool bf16, bool checksums>
static __global__ void __launch_bounds__(ECD_ECF8_THREADS, checksums ? 2 : ECD_ECF8_BLOCKS_OF_SM)
    decode_kernel(const __grid_constant__ ecd_ecf8_work k)
{
    __shared__ ecd_ecf8_codes codes;
    __shared__ uint32_t checksum_table[checksums ? 1024 : 1];
    ECD_DYNAMIC_SHARED(uint8_t, shared);
    if (blockIdx.x < k.end[ECD_ECF8_RUN_PAIRS])
        coded_block<bf16 ? ECD_ECF8_PAIRS_TO_HALVES : ECD_ECF8_PAIRS_TO_BYTES, checksums>(k, shared, &codes, checksum_table);
    else if (!bf16 && blockIdx.x < k.end[ECD_ECF8_RUN_BYTES])
        coded_block<ECD_ECF8_SINGLES_TO_BYTES, checksums>(k, shared, &codes, checksum_table);
    else if (blockIdx.x < k.end[ECD_ECF8_RUN_HALVES])
        coded_block<ECD_ECF8_SINGLES_TO_HALVES, checksums>(k, shared, &codes, checksum_table);
    else
        plain_block<bf16, checksums>(k, checksum_table);
}

// ---------------------------------------------------------------- the launch

// Blocks first .. first + count - 1 of the image, whose runs end where `k` says, counted from the first. `k.status` is the
// first's.
static int launch(const ecd_ecf8_plan *plan, ecd_ecf8_work k, uint32_t first, uint32_t count, int checksums, void *stream)
{
    const bool bf16 = plan->form == ECF8_FORM_BF16;
    if (checksums && bf16)
        return cudaErrorInvalidValue;
    if (!count)
        return cudaSuccess;
    void (*kernel)(const ecd_ecf8_work) = bf16        ? decode_kernel<true, false>
                                 : checksums ? decode_kernel<false, true>
                                             : decode_kernel<false, false>;
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, ECD_ECF8_SHARED_BYTES);
    if (error)
        return error;
    k.blocks += first;
    ECD_LAUNCH(kernel, count, ECD_ECF8_THREADS, ECD_ECF8_SHARED_BYTES, (cudaStream_t)stream, k);
    return cudaGetLastError();
}

// The blocks from `first` on, so many of each run.
static int launch_runs(const ecd_ecf8_plan *plan, ecd_ecf8_work k, uint32_t first, const uint32_t run_blocks[ECD_ECF8_RUNS],
                       int checksums, void *stream)
{
    uint32_t end = 0;
    for (uint32_t run = 0; run < ECD_ECF8_RUNS; run++)
        k.end[run] = end += run_blocks[run];
    return launch(plan, k, first, end, checksums, stream);
}

int ecd_ecf8_decode(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status, int checksums, void *stream)
{
    return launch_runs(plan, ecd_ecf8_work_of(plan, image, out, status), 0, plan->run_blocks, checksums, stream);
}

int ecd_ecf8_decode_pieces(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status, void *stream)
{
    return launch_runs(plan, ecd_ecf8_work_of(plan, image, out, status), plan->block_count, plan->piece_run_blocks, 0, stream);
}

int ecd_ecf8_decode_part(const ecd_ecf8_plan *plan, const void *image, uint32_t part, void *out, uint32_t *status,
                         int checksums, void *stream)
{
    const ecd_ecf8_tensor *t = (const ecd_ecf8_tensor *)plan->image + part;
    ecd_ecf8_work k = ecd_ecf8_work_of(plan, image, out, status);
    for (uint32_t run = t->run; run < ECD_ECF8_RUNS; run++)
        k.end[run] = t->block_count;
    k.status += (uint64_t)t->first_block * ECD_ECF8_WARPS;
    return launch(plan, k, t->first_block, t->block_count, checksums, stream);
}
