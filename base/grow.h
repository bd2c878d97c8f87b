// Lists that grow.
#ifndef ECD_BASE_GROW_H
#define ECD_BASE_GROW_H

#include <stddef.h>

// The list with room for `wanted` elements (at least one), moved perhaps, *capacity being what it has room for: twice as
// much at a time, so that adding one by one takes linear time. NULL when memory is out: then the list is as it was.
void *ecd_grow(void *list, size_t wanted, size_t *capacity, size_t element_bytes);

#endif
