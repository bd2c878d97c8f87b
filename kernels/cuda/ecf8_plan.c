// Which warp decodes which tile: tiles of one tensor and one table together, because a block of threads has one table.
#include <string.h>

#include "codec/format.h"
#include "kernels/cuda/ecf8_image.h"

enum { VIRTUAL_TILE = 65536 }; // of constants, which have no tiles

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

static bool is_inside(const ecd_ecf8_part *part)
{
    const uint64_t tiles = ecd_ecf8_tile_count(part->view);
    return part->first_tile <= tiles && part->tile_count <= tiles - part->first_tile && tiles <= UINT32_MAX;
}

// Tiles of a block, of so many that are decoded at once: where there are too few to fill the device, each block gets fewer,
// so that all multiprocessors have some.
static uint32_t tiles_of_block(uint64_t tiles, uint32_t at_once)
{
    const uint64_t share = at_once ? (tiles + at_once - 1) / at_once : ECD_ECF8_WARPS;
    return share > ECD_ECF8_WARPS ? ECD_ECF8_WARPS : share ? (uint32_t)share : 1;
}

// Of the parts that are decoded together.
static uint64_t tiles_together(const ecd_ecf8_part *parts, uint32_t part_count)
{
    uint64_t tiles = 0;
    for (uint32_t i = 0; i < part_count; i++)
        tiles += parts[i].alone ? 0 : parts[i].tile_count;
    return tiles;
}

static uint64_t most_blocks(const ecd_ecf8_part *part, uint64_t together)
{
    const uint64_t tables = part->view->table_count ? part->view->table_count : 1;
    const uint64_t full = part->tile_count / tiles_of_block(part->alone ? part->tile_count : together, part->at_once);
    return full + (tables < part->tile_count ? tables : part->tile_count); // a table's last block may be short
}

size_t ecd_ecf8_plan_bytes(const ecd_ecf8_part *parts, uint32_t part_count)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < part_count; i++)
        if (!is_inside(parts + i))
            return 0;
    const uint64_t together = tiles_together(parts, part_count);
    for (uint32_t i = 0; i < part_count; i++)
        blocks += most_blocks(parts + i, together);
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
    };
}

// The blocks of one part, of at most `most` tiles each; `next` is where they go. Returns behind the last.
static ecd_ecf8_block *share_out(const ecd_ecf8_part *part, uint32_t tensor, uint32_t most, ecd_ecf8_block *next)
{
    const ecf8_view *v = part->view;
    const uint32_t tables = v->table_count ? v->table_count : 1;
    for (uint32_t table = 0; table < tables; table++) {
        ecd_ecf8_block block = {tensor, table, 0, 0, {0}};
        for (uint64_t i = part->first_tile; i < part->first_tile + part->tile_count; i++) {
            if (ecf8_is_coded(v->mode) && ecf8_entry_of(v->directory, i).table != table)
                continue;
            block.tiles[block.count++] = (uint32_t)i;
            if (block.count == most) {
                *next++ = block;
                block.count = 0;
            }
        }
        if (block.count)
            *next++ = block;
    }
    return next;
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
    if (memory_bytes < need)
        return ecd_fail(diag, ECD_USAGE, "a plan needs %zu bytes, not %zu", need, memory_bytes);
    ecd_ecf8_tensor *tensors = memory;
    ecd_ecf8_block *blocks = (ecd_ecf8_block *)(void *)(tensors + part_count), *end = blocks;
    *plan = (ecd_ecf8_plan){.image = memory, .tensor_count = part_count, .form = form};
    for (uint32_t i = 0; i < part_count; i++)
        describe(parts + i, form == ECF8_FORM_BF16, tensors + i);
    const uint64_t together = tiles_together(parts, part_count);
    for (uint32_t run = 0; run < ECD_ECF8_RUNS; run++) {
        const ecd_ecf8_block *begin = end;
        for (uint32_t i = 0; i < part_count; i++) {
            if (run_of(parts[i].view, form == ECF8_FORM_BF16) != run)
                continue;
            tensors[i].run = run;
            tensors[i].first_block = (uint32_t)(end - blocks);
            end = share_out(parts + i, i, tiles_of_block(parts[i].alone ? parts[i].tile_count : together, parts[i].at_once), end);
            tensors[i].block_count = (uint32_t)(end - blocks) - tensors[i].first_block;
        }
        plan->run_blocks[run] = (uint32_t)(end - begin);
    }
    plan->image_bytes = (size_t)((uint8_t *)end - (uint8_t *)memory);
    plan->block_count = (uint32_t)(end - blocks);
    plan->status_count = 1 + (uint64_t)plan->block_count * ECD_ECF8_WARPS;
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
