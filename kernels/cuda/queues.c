// Streams beside the one of the operations, marks between them, and pinned memory that is sent from.
#include <stdlib.h>

#include "kernels/cuda/runtime.h"

struct ecd_mark {
    cudaEvent_t event;
    bool is_set;
};

// Those beside the operations' are made at their first use: a run without a budget has none.
static cudaStream_t queue_of(ecd_backend *be, ecd_queue queue)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    cudaStream_t stream = (cudaStream_t)cuda->queues[queue];
    if (queue == ECD_QUEUE_COMPUTE)
        return (cudaStream_t)ecd_cuda_stream_of(be);
    if (!stream && ecd_cuda_went(be, "another stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)))
        cuda->queues[queue] = (ecd_cuda_stream *)stream;
    return stream;
}

ecd_cuda_stream *ecd_cuda_queue(ecd_backend *be, ecd_queue queue)
{
    return ecd_backend_ok(be) ? (ecd_cuda_stream *)queue_of(be, queue) : NULL;
}

void ecd_cuda_queues_wait(ecd_backend *be)
{
    for (int i = 0; i < ECD_QUEUES; i++)
        if (ecd_cuda_of(be)->queues[i])
            cudaStreamSynchronize((cudaStream_t)ecd_cuda_of(be)->queues[i]);
}

void ecd_cuda_queues_close(ecd_cuda_backend *cuda)
{
    ecd_cuda_queues_wait(&cuda->base);
    for (int i = 0; i < ECD_QUEUES; i++)
        if (cuda->queues[i])
            cudaStreamDestroy((cudaStream_t)cuda->queues[i]);
}

static void *pin(ecd_backend *be, size_t size_bytes)
{
    void *memory = NULL;
    cudaError_t error = ecd_backend_ok(be) ? cudaMallocHost(&memory, size_bytes ? size_bytes : 1) : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        return memory;
    cudaGetLastError();
    ecd_backend_fail(be, ECD_RESOURCE, "backend cuda: %zu bytes of pinned host memory: %s", size_bytes,
                     cudaGetErrorString(error));
    return NULL;
}

static void unpin(ecd_backend *be, void *memory)
{
    if (!memory)
        return;
    ecd_cuda_queues_wait(be);
    cudaFreeHost(memory);
}

static void send(ecd_backend *be, void *to, const void *from, size_t size_bytes)
{
    cudaStream_t stream = (cudaStream_t)ecd_cuda_queue(be, ECD_QUEUE_SEND);
    if (stream && size_bytes)
        ecd_cuda_went(be, "sending weights", cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyHostToDevice, stream));
}

static ecd_mark *mark_new(ecd_backend *be)
{
    ecd_mark *mark = ecd_backend_ok(be) ? calloc(1, sizeof *mark) : NULL;
    if (!mark)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a mark");
    else if (ecd_cuda_went(be, "an event", cudaEventCreateWithFlags(&mark->event, cudaEventDisableTiming)))
        return mark;
    free(mark);
    return NULL;
}

static void mark_free(ecd_backend *be, ecd_mark *mark)
{
    (void)be;
    if (mark)
        cudaEventDestroy(mark->event);
    free(mark);
}

static void mark_set(ecd_backend *be, ecd_mark *mark, ecd_queue queue)
{
    cudaStream_t stream = (cudaStream_t)ecd_cuda_queue(be, queue);
    mark->is_set = (stream && ecd_cuda_went(be, "ordering streams", cudaEventRecord(mark->event, stream))) || mark->is_set;
}

static void mark_await(ecd_backend *be, ecd_mark *mark, ecd_queue queue)
{
    cudaStream_t stream = mark->is_set ? (cudaStream_t)ecd_cuda_queue(be, queue) : NULL;
    if (stream)
        ecd_cuda_went(be, "ordering streams", cudaStreamWaitEvent(stream, mark->event, 0));
}

void ecd_cuda_fill_queues(ecd_backend_ops *ops)
{
    ops->pin = pin;
    ops->unpin = unpin;
    ops->send = send;
    ops->mark_new = mark_new;
    ops->mark_free = mark_free;
    ops->mark_set = mark_set;
    ops->mark_await = mark_await;
}
