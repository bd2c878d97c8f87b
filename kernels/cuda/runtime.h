// What a call of the CUDA runtime gave, as a backend's failure.
#ifndef ECD_KERNELS_CUDA_RUNTIME_H
#define ECD_KERNELS_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda.h"

// Keeps a failure, and forgets the runtime's own note of it, so that the next launch does not report it again.
static inline bool ecd_cuda_went(ecd_backend *be, const char *what, cudaError_t error)
{
    if (error != cudaSuccess)
        cudaGetLastError();
    return ecd_cuda_done(be, what, error == cudaSuccess ? NULL : cudaGetErrorString(error));
}

#endif
