#include "base/arena.h"

void *ecd_arena_take(ecd_arena *arena, size_t size_bytes)
{
    size_t start = arena->used_bytes, end, rounded;
    if (__builtin_add_overflow(size_bytes, ECD_ARENA_ALIGN - 1, &rounded) ||
        __builtin_add_overflow(start, rounded & ~(size_t)(ECD_ARENA_ALIGN - 1), &end)) {
        arena->peak_bytes = SIZE_MAX; // no memory is that large: the allocation of the plan will fail
        return NULL;
    }
    arena->used_bytes = end;
    if (end > arena->peak_bytes)
        arena->peak_bytes = end;
    return arena->base && end <= arena->size_bytes ? arena->base + start : NULL;
}

void *ecd_arena_take_array(ecd_arena *arena, int64_t rows, int64_t width, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow((size_t)rows, (size_t)width, &bytes) ||
        __builtin_mul_overflow(bytes, element_bytes, &bytes) || bytes > SIZE_MAX / 64)
        bytes = SIZE_MAX / 64;
    return ecd_arena_take(arena, bytes);
}
