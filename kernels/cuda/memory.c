// The device's memory pool: cudaMallocAsync's, told to keep what is freed, so that an allocation after the first pass asks
// nothing of the driver; and what it tells of itself.
#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda.h"

static cudaMemPool_t pool_of(const ecd_cuda_backend *cuda)
{
    return (cudaMemPool_t)cuda->pool;
}

ecd_status ecd_cuda_memory_open(ecd_cuda_backend *cuda, ecd_diag *diag)
{
    int device = 0;
    uint64_t keep_all = UINT64_MAX;
    cudaMemPool_t pool = NULL;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess)
        error = cudaDeviceGetDefaultMemPool(&pool, device);
    if (error == cudaSuccess)
        error = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all);
    if (error != cudaSuccess) {
        cudaGetLastError();
        return ecd_fail(diag, ECD_RESOURCE, "backend cuda: no memory pool: %s", cudaGetErrorString(error));
    }
    cuda->pool = pool;
    return ECD_OK;
}

void ecd_cuda_memory_close(ecd_cuda_backend *cuda)
{
    if (cuda->pool)
        cudaMemPoolTrimTo(pool_of(cuda), 0);
}

static uint64_t attribute(const ecd_cuda_backend *cuda, enum cudaMemPoolAttr which)
{
    uint64_t value = 0;
    return cudaMemPoolGetAttribute(pool_of(cuda), which, &value) == cudaSuccess ? value : 0;
}

// What the pool keeps beyond what is used is free to us.
static void device_memory(ecd_backend *be, ecd_device_memory *out)
{
    const ecd_cuda_backend *cuda = ecd_cuda_of(be);
    size_t unused = 0, total = 0;
    *out = (ecd_device_memory){.used = attribute(cuda, cudaMemPoolAttrUsedMemCurrent),
                               .peak = attribute(cuda, cudaMemPoolAttrUsedMemHigh),
                               .scratch = cuda->scratch_bytes};
    uint64_t reserved = attribute(cuda, cudaMemPoolAttrReservedMemCurrent);
    if (cudaMemGetInfo(&unused, &total) == cudaSuccess)
        out->free = unused + (reserved > out->used ? reserved - out->used : 0);
    cudaGetLastError();
}

void ecd_cuda_fill_memory(ecd_backend_ops *ops)
{
    ops->device_memory = device_memory;
}
