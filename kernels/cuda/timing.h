// What runs fastest on the device.
#ifndef ECD_KERNELS_CUDA_TIMING_H
#define ECD_KERNELS_CUDA_TIMING_H

#include "kernels/cuda/kernels.h"

// Index of the fastest of `count` candidates, of equals the first; -1 where none runs. run(user, i) queues candidate i once
// and returns 0, or its error: then it is passed over. Nothing is kept in a backend.
int ecd_cuda_fastest(ecd_cuda_stream *stream, int count, int (*run)(void *user, int i), void *user);

// Device memory for it to write into, in the stream's order; NULL where there is none.
void *ecd_cuda_borrow(ecd_cuda_stream *stream, size_t size_bytes);
void ecd_cuda_give_back(ecd_cuda_stream *stream, void *memory); // NULL is allowed

#endif
