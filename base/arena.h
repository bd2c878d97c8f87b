// An arena: one block of memory, handed out in aligned pieces, given back as a stack.
//
// The same code plans and runs: with base NULL (ecd_arena_plan) pieces are only counted, and peak_bytes then says
// what to allocate. `base` may be device memory: the arena never touches what it hands out.
#ifndef ECD_BASE_ARENA_H
#define ECD_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum { ECD_ARENA_ALIGN = 64 };

typedef struct ecd_arena {
    uint8_t *base; // NULL while planning; aligned to ECD_ARENA_ALIGN otherwise
    size_t size_bytes;
    size_t used_bytes;
    size_t peak_bytes;
} ecd_arena;

static inline ecd_arena ecd_arena_plan(void)
{
    return (ecd_arena){.base = NULL, .size_bytes = SIZE_MAX};
}

static inline ecd_arena ecd_arena_over(void *base, size_t size_bytes)
{
    return (ecd_arena){.base = base, .size_bytes = size_bytes};
}

// A piece of size_bytes, aligned. NULL while planning, and when the arena is too small (its plan was wrong:
// a programming error that callers turn into ECD_RESOURCE by ecd_arena_overrun at the end of a phase).
void *ecd_arena_take(ecd_arena *arena, size_t size_bytes);

// A piece of rows x width elements. Sizes that overflow make the plan too large for any machine.
void *ecd_arena_take_array(ecd_arena *arena, int64_t rows, int64_t width, size_t element_bytes);

// Marks and resets the stack: all that was taken since the mark is given back.
static inline size_t ecd_arena_mark(const ecd_arena *arena)
{
    return arena->used_bytes;
}

static inline void ecd_arena_reset(ecd_arena *arena, size_t mark)
{
    arena->used_bytes = mark;
}

static inline int ecd_arena_overrun(const ecd_arena *arena)
{
    return arena->peak_bytes > arena->size_bytes;
}

#endif
