// The memory operations of a backend whose memory is the host's.
#ifndef ECD_KERNELS_HOST_MEMORY_H
#define ECD_KERNELS_HOST_MEMORY_H

#include "kernels/backend.h"

void *ecd_host_alloc(ecd_backend *be, size_t size_bytes);
void ecd_host_free(ecd_backend *be, void *memory);
void ecd_host_expand(ecd_backend *be, const ecd_weight *w, void *to);
void ecd_host_copy(ecd_backend *be, void *to, const void *from, size_t size_bytes);

#endif
