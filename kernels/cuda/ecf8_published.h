// Decoding published ECF8 0.2.0 buffers as they are (codec/published.h, docs/FORMAT.md "The published format") on the
// device, the way that they were made for: a thread for each 8 bytes of the stream counts the codes that begin there, a sum
// over the block gives each thread its place, and a second pass writes.
#ifndef ECD_KERNELS_CUDA_ECF8_PUBLISHED_H
#define ECD_KERNELS_CUDA_ECF8_PUBLISHED_H

#include "codec/published.h"

#ifdef __cplusplus
extern "C" {
#endif

// Decodes the whole group to `out` (device, aligned to 8; 1 byte a weight, or 2 in form BF16). `group` was opened on the host's
// copy of the buffers, which is needed only during the call; `parts` are the same bytes on the device, `encoded` aligned
// to 8, the nibbles to 2. Nothing is read or written outside of these, whatever the buffers say. `status` (device, u32):
// set it to 0 before; after, it is an ecf8_status: ECF8_ERR_STREAM as ecf8_published_decode says, ECF8_ERR_PADDING
// for gaps that are not where codes end (the CPU, which does not go by gaps, finds those only when it verifies).
// `stream`: a cudaStream_t. Returns a cudaError_t, 0 for none.
int ecd_ecf8_published_decode(const ecf8_published *group, const void *const parts[ECF8_PUBLISHED_PARTS], ecf8_form form,
                              void *out, uint32_t *status, void *stream);

#ifdef __cplusplus
}
#endif

#endif
