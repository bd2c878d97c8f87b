// Where packing puts the bytes of a range of tiles: for callers who write a blob to a file piece by piece.
#include "codec/plan.h"

void ecf8_plan_extents(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, ecf8_extent extents[2])
{
    const ecf8_layout at = ecf8_plan_layout(plan);
    const uint64_t last = first_tile + tile_count;
    extents[0] = extents[1] = (ecf8_extent){at.total, 0};
    if (plan->mode == ECF8_MODE_CONSTANT)
        return;
    if (plan->mode == ECF8_MODE_RAW) {
        const uint64_t tile = plan->tile_weights * ecf8_dtype_bytes(plan->params.dtype);
        const uint64_t end = last < plan->tile_count ? at.plane + last * tile : at.total;
        extents[0] = (ecf8_extent){at.plane + first_tile * tile, end - at.plane - first_tile * tile};
        return;
    }
    const uint64_t tile = plan->tile_weights / ECF8_GROUP * ecf8_plane_group_bytes(plan->params.dtype, plan->mode);
    const uint64_t plane = last < plan->tile_count ? at.plane + last * tile : at.words;
    const uint64_t begin = first_tile < plan->tile_count ? plan->tiles[first_tile].word_offset : plan->word_count;
    const uint64_t end = last < plan->tile_count ? plan->tiles[last].word_offset : plan->word_count;
    extents[0] = (ecf8_extent){at.plane + first_tile * tile, plane - at.plane - first_tile * tile};
    extents[1] = (ecf8_extent){at.words + begin * 2, (end - begin) * 2};
}

uint64_t ecf8_plan_front_bytes(const ecf8_plan *plan)
{
    return ecf8_plan_layout(plan).meta_end;
}
