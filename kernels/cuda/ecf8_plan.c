// Which warp decodes which tile: tiles of one tensor and one table together, because a block of threads has one table.
#include <string.h>

#include "codec/format.h"
#include "kernels/cuda/ecf8_image.h"

enum {
    VIRTUAL_TILE = 65536, // of constants, which have no tiles
    PIECE_STEP = 8,       // the kernel's main loop takes so many groups at a time
    PIECE = 128,          // groups of a piece: an H200 decodes tiles of so many at 1.3 times the rate of ones of 512, or more
    SHORT_PIECE = 64,     // where even those leave some of a device's warps without work
    MANY = 4,             // whole tiles for each of them: nothing needs to be cut
};

uint32_t ecd_ecf8_tile_weights(const ecf8_view *view)
{
    return view->mode == ECF8_MODE_CONSTANT ? VIRTUAL_TILE : view->tile_weights;
}

uint64_t ecd_ecf8_tile_count(const ecf8_view *view)
{
    return view->mode == ECF8_MODE_CONSTANT ? (view->count + VIRTUAL_TILE - 1) / VIRTUAL_TILE : view->tile_count;
}

uint64_t ecd_ecf8_tiles_within(const ecf8_view *view, ecf8_form form, uint64_t first_tile, uint64_t most_bytes)
{
    const uint64_t weight_bytes = form == ECF8_FORM_BF16 ? 2 : ecf8_dtype_bytes(view->dtype);
    const uint64_t tiles = ecd_ecf8_tile_count(view), fit = most_bytes / (ecd_ecf8_tile_weights(view) * weight_bytes);
    const uint64_t left = first_tile < tiles ? tiles - first_tile : 0;
    return fit > left ? left : fit || !left ? fit : 1;
}

// ---- pieces

static uint64_t tile_groups(const ecf8_view *view)
{
    return (view->tile_weights + ECF8_GROUP - 1) / ECF8_GROUP;
}

uint32_t ecd_ecf8_piece_groups(const ecf8_view *view, uint64_t tiles_together, uint32_t at_once)
{
    const uint64_t warps = (uint64_t)at_once * ECD_ECF8_WARPS, groups = tile_groups(view);
    if (!ecf8_is_coded(view->mode) || tiles_together >= MANY * warps)
        return 0;
    const uint32_t piece = tiles_together * ((groups + PIECE - 1) / PIECE) < warps ? SHORT_PIECE : PIECE;
    return groups > piece ? piece : 0;
}

// Of a whole tile.
static uint32_t pieces_of(const ecd_ecf8_part *part)
{
    const uint64_t groups = tile_groups(part->view);
    return part->piece_groups && ecf8_is_coded(part->view->mode) ? (uint32_t)((groups + part->piece_groups - 1) / part->piece_groups) : 1;
}

uint64_t ecd_ecf8_stops_bytes(const ecd_ecf8_part *part)
{
    return part->view->tile_count * (pieces_of(part) - 1) * ECD_ECF8_STOP_WORDS * sizeof(uint32_t);
}

// Of this tile: the last of a tensor may have fewer.
static uint32_t pieces_of_tile(const ecd_ecf8_part *part, uint64_t tile)
{
    if (pieces_of(part) == 1)
        return 1;
    const uint64_t left = part->view->count - tile * part->view->tile_weights, piece = (uint64_t)part->piece_groups * ECF8_GROUP;
    const uint64_t weights = left < part->view->tile_weights ? left : part->view->tile_weights;
    return (uint32_t)((weights + piece - 1) / piece);
}

static bool any_pieces(const ecd_ecf8_part *parts, uint32_t part_count)
{
    for (uint32_t i = 0; i < part_count; i++)
        if (pieces_of(parts + i) > 1)
            return true;
    return false;
}

// ---- sharing out

static bool is_inside(const ecd_ecf8_part *part)
{
    const uint64_t tiles = ecd_ecf8_tile_count(part->view);
    return part->first_tile <= tiles && part->tile_count <= tiles - part->first_tile && tiles <= UINT32_MAX / pieces_of(part);
}

// Tiles of a block, of so many that are decoded at once: where there are too few to fill the device, each block gets fewer,
// so that all multiprocessors have some.
static uint32_t tiles_of_block(uint64_t tiles, uint32_t at_once)
{
    const uint64_t share = at_once ? (tiles + at_once - 1) / at_once : ECD_ECF8_WARPS;
    return share > ECD_ECF8_WARPS ? ECD_ECF8_WARPS : share ? (uint32_t)share : 1;
}

// Of the parts that are decoded together, whole or in pieces.
static uint64_t tiles_together(const ecd_ecf8_part *parts, uint32_t part_count, bool cut)
{
    uint64_t tiles = 0;
    for (uint32_t i = 0; i < part_count; i++)
        tiles += parts[i].alone ? 0 : parts[i].tile_count * (cut ? pieces_of(parts + i) : 1);
    return tiles;
}

static uint64_t most_blocks(const ecd_ecf8_part *part, uint64_t together, bool cut)
{
    const uint64_t tables = part->view->table_count ? part->view->table_count : 1;
    const uint64_t tiles = part->tile_count * (cut ? pieces_of(part) : 1);
    const uint64_t full = tiles / tiles_of_block(part->alone ? tiles : together, part->at_once);
    return full + (tables < tiles ? tables : tiles); // a table's last block may be short
}

static uint64_t most_blocks_of_all(const ecd_ecf8_part *parts, uint32_t part_count, bool cut)
{
    const uint64_t together = tiles_together(parts, part_count, cut);
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < part_count; i++)
        blocks += most_blocks(parts + i, together, cut);
    return blocks;
}

size_t ecd_ecf8_plan_bytes(const ecd_ecf8_part *parts, uint32_t part_count)
{
    for (uint32_t i = 0; i < part_count; i++)
        if (!is_inside(parts + i))
            return 0;
    uint64_t blocks = most_blocks_of_all(parts, part_count, false);
    if (any_pieces(parts, part_count))
        blocks += most_blocks_of_all(parts, part_count, true);
    return (size_t)(part_count * sizeof(ecd_ecf8_tensor) + blocks * sizeof(ecd_ecf8_block));
}

// What an entry of the decoding table gives: ecd_ecf8_payload in ecf8_table.cuh, in the same order.
enum { PAIR_BYTES, PAIR_HALVES, BYTE, E4M3_HALF, E5M2_HALF, BF16_HALF, F16_HALF };

static uint32_t payload_of(const ecf8_view *v, bool bf16)
{
    if (v->mode == ECF8_MODE_PAIRS)
        return bf16 ? PAIR_HALVES : PAIR_BYTES;
    switch (v->dtype) {
    case ECF8_E4M3: return bf16 ? E4M3_HALF : BYTE;
    case ECF8_E5M2: return bf16 ? E5M2_HALF : BYTE;
    case ECF8_BF16: return BF16_HALF;
    case ECF8_F16: return F16_HALF;
    }
    return BYTE;
}

static ecd_ecf8_run run_of(const ecf8_view *v, bool bf16)
{
    if (!ecf8_is_coded(v->mode))
        return ECD_ECF8_RUN_PLAIN;
    if (v->mode == ECF8_MODE_PAIRS)
        return ECD_ECF8_RUN_PAIRS;
    return bf16 || ecf8_dtype_bytes(v->dtype) == 2 ? ECD_ECF8_RUN_HALVES : ECD_ECF8_RUN_BYTES;
}

// The same place in the device's copy.
static const uint8_t *on_device(const ecd_ecf8_part *part, const uint8_t *section)
{
    return section ? (const uint8_t *)part->device_blob + (section - part->view->blob) : NULL;
}

static uint32_t constant_of(const ecf8_view *v, bool bf16)
{
    uint16_t as_bf16 = v->constant;
    if (!bf16 || v->dtype == ECF8_BF16)
        return v->constant;
    ecf8_decoder d;
    const ecf8_output to_bf16 = {ECF8_FORM_BF16, NULL, 0};
    if (ecf8_decoder_init(&d, v, NULL, 0, ECF8_CPU_SCALAR, NULL) ||
        ecf8_decode_weights(&d, 0, 1, &to_bf16, &as_bf16, sizeof as_bf16, 0, NULL))
        return v->constant;
    return as_bf16;
}

static void describe(const ecd_ecf8_part *part, bool bf16, ecd_ecf8_tensor *t)
{
    const ecf8_view *v = part->view;
    const uint32_t own = (uint32_t)ecf8_dtype_bytes(v->dtype), out = bf16 ? 2 : own;
    const bool has_plane = v->mode == ECF8_MODE_SINGLES && own == 2;
    *t = (ecd_ecf8_tensor){
        .tables = on_device(part, v->tables),
        .directory = on_device(part, v->directory),
        .patches = on_device(part, v->patches),
        .plane = on_device(part, v->plane),
        .words = on_device(part, v->words),
        .count = v->count,
        .out_at = part->out_bytes_at - part->first_tile * ecd_ecf8_tile_weights(v) * out,
        .tile_weights = ecd_ecf8_tile_weights(v),
        .kind = v->mode == ECF8_MODE_PAIRS      ? ECD_ECF8_KIND_PAIRS
                : v->mode == ECF8_MODE_SINGLES  ? ECD_ECF8_KIND_SINGLES
                : v->mode == ECF8_MODE_CONSTANT ? ECD_ECF8_KIND_CONSTANT
                                                : ECD_ECF8_KIND_RAW,
        .dtype = v->dtype,
        .code_bits = v->code_bits,
        .payload = payload_of(v, bf16),
        .plane_mask = !has_plane ? 0 : v->dtype == ECF8_BF16 ? 0x807f807fU : 0x00ff00ffU,
        .constant = constant_of(v, bf16),
        .own_bytes = own,
        .to_bf16 = bf16 && v->dtype != ECF8_BF16,
        .piece_groups = pieces_of(part) > 1 ? part->piece_groups : 0,
        .pieces = pieces_of(part),
        .stops = pieces_of(part) > 1 ? part->stops : NULL,
    };
}

// Blocks on their way into the image.
typedef struct sharing {
    ecd_ecf8_block *next;
    uint32_t tensor;
    uint32_t most;   // tiles or pieces of a block
    bool cut;
} sharing;

// The blocks of one part's tiles that have this table.
static void share_out_table(sharing *s, const ecd_ecf8_part *part, uint32_t table)
{
    const ecf8_view *v = part->view;
    const uint32_t pieces = s->cut ? pieces_of(part) : 1;
    ecd_ecf8_block block = {.tensor = s->tensor, .table = table, .pieces = pieces};
    for (uint64_t i = part->first_tile; i < part->first_tile + part->tile_count; i++) {
        if (ecf8_is_coded(v->mode) && ecf8_entry_of(v->directory, i).table != table)
            continue;
        for (uint32_t piece = 0; piece < (s->cut ? pieces_of_tile(part, i) : 1); piece++) {
            block.tiles[block.count++] = (uint32_t)i * pieces + piece;
            if (block.count == s->most) {
                *s->next++ = block;
                block.count = 0;
            }
        }
    }
    if (block.count)
        *s->next++ = block;
}

static void share_out(sharing *s, const ecd_ecf8_part *part)
{
    const uint32_t tables = part->view->table_count ? part->view->table_count : 1;
    for (uint32_t table = 0; table < tables; table++)
        share_out_table(s, part, table);
}

// The blocks of all parts, run by run, from `next` on; how many each run has. Of whole tiles the tensors are told theirs.
static ecd_ecf8_block *share_out_all(const ecd_ecf8_part *parts, uint32_t part_count, bool bf16, bool cut,
                                     ecd_ecf8_tensor *tensors, ecd_ecf8_block *next, uint32_t run_blocks[ECD_ECF8_RUNS])
{
    const ecd_ecf8_block *blocks = next;
    const uint64_t together = tiles_together(parts, part_count, cut);
    sharing s = {.next = next, .cut = cut};
    for (uint32_t run = 0; run < ECD_ECF8_RUNS; run++) {
        const ecd_ecf8_block *begin = s.next;
        for (uint32_t i = 0; i < part_count; i++) {
            const ecd_ecf8_block *first = s.next;
            if (run_of(parts[i].view, bf16) != run)
                continue;
            s.tensor = i;
            s.most = tiles_of_block(parts[i].alone ? parts[i].tile_count : together, parts[i].at_once);
            share_out(&s, parts + i);
            if (cut)
                continue;
            tensors[i].run = run;
            tensors[i].first_block = (uint32_t)(first - blocks);
            tensors[i].block_count = (uint32_t)(s.next - first);
        }
        run_blocks[run] = (uint32_t)(s.next - begin);
    }
    return s.next;
}

ecd_status ecd_ecf8_plan_make(const ecd_ecf8_part *parts, uint32_t part_count, ecf8_form form, void *memory,
                              size_t memory_bytes, ecd_ecf8_plan *plan, ecd_diag *diag)
{
    const size_t need = ecd_ecf8_plan_bytes(parts, part_count);
    if (form != ECF8_FORM_NATIVE && form != ECF8_FORM_BF16)
        return ecd_fail(diag, ECD_USAGE, "a device decodes to the tensor's own type or to BF16");
    for (uint32_t i = 0; i < part_count; i++)
        if (!is_inside(parts + i) || (uintptr_t)parts[i].device_blob % ECD_ECF8_BLOB_ALIGN ||
            parts[i].out_bytes_at % ECD_ECF8_OUT_ALIGN)
            return ecd_fail(diag, ECD_USAGE, "part %u: tiles within the tensor, a blob aligned to %d bytes, a place to %d",
                            i, ECD_ECF8_BLOB_ALIGN, ECD_ECF8_OUT_ALIGN);
    for (uint32_t i = 0; i < part_count; i++)
        if (parts[i].piece_groups % PIECE_STEP || (uintptr_t)parts[i].stops % sizeof(uint32_t))
            return ecd_fail(diag, ECD_USAGE, "part %u: pieces in steps of %d groups, stops aligned to 4 bytes", i, PIECE_STEP);
    if (memory_bytes < need)
        return ecd_fail(diag, ECD_USAGE, "a plan needs %zu bytes, not %zu", need, memory_bytes);
    ecd_ecf8_tensor *tensors = memory;
    ecd_ecf8_block *blocks = (ecd_ecf8_block *)(void *)(tensors + part_count), *end = blocks;
    *plan = (ecd_ecf8_plan){.image = memory, .tensor_count = part_count, .form = form};
    for (uint32_t i = 0; i < part_count; i++)
        describe(parts + i, form == ECF8_FORM_BF16, tensors + i);
    const bool bf16 = form == ECF8_FORM_BF16;
    end = share_out_all(parts, part_count, bf16, false, tensors, blocks, plan->run_blocks);
    plan->block_count = (uint32_t)(end - blocks);
    if (any_pieces(parts, part_count))
        end = share_out_all(parts, part_count, bf16, true, tensors, end, plan->piece_run_blocks);
    plan->piece_block_count = (uint32_t)(end - blocks) - plan->block_count;
    plan->image_bytes = (size_t)((char *)end - (char *)memory);
    const uint32_t most = plan->block_count > plan->piece_block_count ? plan->block_count : plan->piece_block_count;
    plan->status_count = 1 + (uint64_t)most * ECD_ECF8_WARPS;
    return ECD_OK;
}

ecf8_status ecd_ecf8_first_fault(const ecd_ecf8_plan *plan, const uint32_t *status, uint32_t *part, uint64_t *tile)
{
    const ecd_ecf8_tensor *tensors = plan->image;
    const ecd_ecf8_block *blocks = (const ecd_ecf8_block *)(const void *)(tensors + plan->tensor_count);
    for (uint32_t b = 0; b < plan->block_count; b++)
        for (uint32_t w = 0; w < blocks[b].count; w++) {
            const uint32_t fault = status[1 + b * ECD_ECF8_WARPS + w];
            if (fault) {
                *part = blocks[b].tensor;
                *tile = blocks[b].tiles[w];
                return (ecf8_status)fault;
            }
        }
    return ECF8_OK;
}
