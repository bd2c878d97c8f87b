#include "kernels/host_memory.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/coded.h"
#include "kernels/shape.h"

void *ecd_host_alloc(ecd_backend *be, size_t size_bytes)
{
    size_t rounded = (size_bytes + 63) / 64 * 64;
    void *memory = rounded < size_bytes ? NULL : aligned_alloc(64, rounded ? rounded : 64);
    if (!memory)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %zu bytes for the %s backend", size_bytes, be->name);
    return memory;
}

void ecd_host_free(ecd_backend *be, void *memory)
{
    (void)be;
    free(memory);
}

void ecd_host_copy(ecd_backend *be, void *to, const void *from, size_t size_bytes)
{
    if (ecd_backend_ok(be) && size_bytes)
        memcpy(to, from, size_bytes);
}

void ecd_host_expand(ecd_backend *be, const ecd_weight *w, void *to)
{
    if (!ecd_shape_weight(be, w))
        return;
    if (w->coded)
        ecd_coded_use(be, w->coded, to);
    else
        memcpy(to, w->data, (size_t)(w->rows * w->cols) * ecd_dtype_size(w->dtype));
}
