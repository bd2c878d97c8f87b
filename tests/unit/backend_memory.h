// Floats in a backend's memory, for tests whose backend may be a device.
#ifndef ECD_TESTS_UNIT_BACKEND_MEMORY_H
#define ECD_TESTS_UNIT_BACKEND_MEMORY_H

#include <cmocka.h>

#include "kernels/backend.h"

// Memory for `count` floats, set to `values` unless that is NULL. Given back by backend_floats_off.
static inline float *backend_floats(ecd_backend *be, const float *values, size_t count)
{
    float *memory = be->ops->alloc(be, count * sizeof *memory);
    assert_non_null(memory);
    if (values)
        be->ops->upload(be, memory, values, count * sizeof *memory);
    return memory;
}

// values := what the memory holds, unless values is NULL; the memory is given back.
static inline void backend_floats_off(ecd_backend *be, float *memory, float *values, size_t count)
{
    if (values)
        be->ops->download(be, values, memory, count * sizeof *memory);
    be->ops->free(be, memory);
}

#endif
