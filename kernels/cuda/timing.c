#include "kernels/cuda/timing.h"

#include <cuda_runtime_api.h>

enum { ROUNDS = 3, RUNS = 5 }; // the best round counts; of short kernels one alone is mostly its launch

static const float margin = 0.98f; // so much less than an earlier one's time is faster

static bool time_rounds(cudaStream_t stream, const cudaEvent_t events[2], int candidate, int (*run)(void *, int),
                        void *user, float *best)
{
    if (run(user, candidate)) // loads what it needs
        return false;
    *best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        bool good = !cudaEventRecord(events[0], stream);
        for (int i = 0; good && i < RUNS; i++)
            good = !run(user, candidate);
        float ms = 0;
        if (!good || cudaEventRecord(events[1], stream) || cudaEventSynchronize(events[1]) ||
            cudaEventElapsedTime(&ms, events[0], events[1]))
            return false;
        *best = round == 0 || ms < *best ? ms : *best;
    }
    return true;
}

int ecd_cuda_fastest(ecd_cuda_stream *stream, int count, int (*run)(void *user, int i), void *user)
{
    cudaEvent_t events[2] = {NULL, NULL};
    int fastest = -1;
    float least = 0, ms;
    if (!cudaEventCreateWithFlags(&events[0], cudaEventDefault) &&
        !cudaEventCreateWithFlags(&events[1], cudaEventDefault))
        for (int i = 0; i < count; i++)
            if (time_rounds((cudaStream_t)stream, events, i, run, user, &ms) && (fastest < 0 || ms < least * margin)) {
                fastest = i;
                least = ms;
            }
    for (int i = 0; i < 2; i++)
        if (events[i])
            cudaEventDestroy(events[i]);
    cudaGetLastError(); // of a candidate that does not run
    return fastest;
}

void *ecd_cuda_borrow(ecd_cuda_stream *stream, size_t size_bytes)
{
    void *memory = NULL;
    if (cudaMallocAsync(&memory, size_bytes ? size_bytes : 1, (cudaStream_t)stream) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

void ecd_cuda_give_back(ecd_cuda_stream *stream, void *memory)
{
    if (memory)
        cudaFreeAsync(memory, (cudaStream_t)stream);
}
