// ECF8 on the device: containers copied there once, decoded on a stream of their own beside the operations.
//
// Events order the two streams, the host waits for neither: a decode begins when the operations queued before it are done
// (they may still read what it overwrites), and operations queued after ecd_cuda_decode_join wait for it.
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ecf8_decode.h"

struct ecd_decode_plan {
    ecd_ecf8_plan plan; // its image on the host is kept for messages
    void *memory;       // device: blobs, then image, then status
    const void *image;
    uint32_t *status;
    uint32_t *host_status;
    cudaEvent_t done;
    size_t size_bytes;
};

static bool runtime(ecd_backend *be, const char *what, cudaError_t error)
{
    return ecd_cuda_done(be, what, error == cudaSuccess ? NULL : cudaGetErrorString(error));
}

// The second stream and the event that says when it may begin, made at the first plan.
static bool make_stream(ecd_backend *be)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    cudaStream_t stream = NULL;
    cudaEvent_t free_again = NULL;
    if (cuda->decode_stream)
        return true;
    if (!runtime(be, "a second stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)))
        return false;
    cuda->decode_stream = (ecd_cuda_stream *)stream;
    if (!runtime(be, "an event", cudaEventCreateWithFlags(&free_again, cudaEventDisableTiming)))
        return false;
    cuda->free_again = free_again;
    return true;
}

void ecd_cuda_decode_close(ecd_cuda_backend *cuda)
{
    if (cuda->free_again)
        cudaEventDestroy((cudaEvent_t)cuda->free_again);
    if (cuda->decode_stream) {
        cudaStreamSynchronize((cudaStream_t)cuda->decode_stream);
        cudaStreamDestroy((cudaStream_t)cuda->decode_stream);
    }
}

static size_t rounded(uint64_t bytes)
{
    return ((size_t)bytes + ECD_ECF8_BLOB_ALIGN - 1) / ECD_ECF8_BLOB_ALIGN * ECD_ECF8_BLOB_ALIGN;
}

// Lays the blobs out in device memory and makes the plan over them; copies all there.
static bool fill(ecd_backend *be, ecd_decode_plan *p, const ecd_decode_part *from, int count, ecf8_view *views,
                 ecd_ecf8_part *parts)
{
    ecd_diag diag = {0};
    size_t blobs = 0, at = 0;
    for (int i = 0; i < count; i++) {
        if (ecf8_open(from[i].blob, from[i].blob_bytes, &views[i], NULL) != ECF8_OK) {
            ecd_backend_fail(be, ECD_DATA, "decoding: a container that does not open");
            return false;
        }
        parts[i] = (ecd_ecf8_part){.view = &views[i], .tile_count = ecd_ecf8_tile_count(&views[i]),
                                   .out_bytes_at = from[i].out_offset_bytes};
        blobs += rounded(from[i].blob_bytes);
    }
    size_t image_bytes = ecd_ecf8_plan_bytes(parts, (uint32_t)count);
    void *image = aligned_alloc(64, rounded(image_bytes + 1));
    bool good = image_bytes && image;
    p->plan.image = image;
    if (!good)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %zu bytes for a plan to decode", image_bytes);
    // A block's status words are fewer than the bytes of its entry in the image.
    p->size_bytes = blobs + 2 * rounded(image_bytes) + ECD_ECF8_BLOB_ALIGN;
    p->memory = good ? ecd_cuda_alloc(be, p->size_bytes) : NULL;
    good = p->memory;
    for (int i = 0; good && i < count; i++) {
        char *to = (char *)p->memory + at;
        parts[i].device_blob = to;
        ecd_cuda_upload(be, to, from[i].blob, from[i].blob_bytes);
        at += rounded(from[i].blob_bytes);
    }
    if (good && ecd_ecf8_plan_make(parts, (uint32_t)count, ECF8_FORM_NATIVE, image, image_bytes, &p->plan,
                                   &diag)) {
        p->plan.image = image;
        ecd_backend_fail(be, diag.status, "%s", diag.what);
        good = false;
    }
    if (good) {
        p->image = (char *)p->memory + blobs;
        p->status = (uint32_t *)(void *)((char *)p->memory + blobs + rounded(image_bytes));
        p->host_status = malloc((size_t)p->plan.status_count * sizeof *p->host_status);
        ecd_cuda_upload(be, (char *)p->memory + blobs, image, p->plan.image_bytes);
    }
    return good && ecd_backend_ok(be);
}

ecd_decode_plan *ecd_cuda_decode_prepare(ecd_backend *be, const ecd_decode_part *parts, int count)
{
    if (!ecd_backend_ok(be) || !make_stream(be))
        return NULL;
    ecd_decode_plan *p = calloc(1, sizeof *p);
    ecf8_view *views = calloc((size_t)count, sizeof *views);
    ecd_ecf8_part *there = calloc((size_t)count, sizeof *there);
    bool good = p && views && there;
    if (!good)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a plan to decode %d tensors", count);
    good = good && fill(be, p, parts, count, views, there) &&
           runtime(be, "an event", cudaEventCreateWithFlags(&p->done, cudaEventDisableTiming));
    if (good && !p->host_status) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a plan to decode %d tensors", count);
        good = false;
    }
    if (good)
        ecd_cuda_of(be)->held_bytes += p->size_bytes;
    free(views);
    free(there);
    if (!good && p) {
        p->size_bytes = 0;
        ecd_cuda_decode_free(be, p);
        p = NULL;
    }
    return p;
}

void ecd_cuda_decode_free(ecd_backend *be, ecd_decode_plan *p)
{
    if (!p)
        return;
    if (ecd_cuda_of(be)->decode_stream)
        cudaStreamSynchronize((cudaStream_t)ecd_cuda_of(be)->decode_stream);
    if (p->done)
        cudaEventDestroy(p->done);
    ecd_cuda_of(be)->held_bytes -= p->size_bytes;
    ecd_cuda_free(be, p->memory);
    free(p->host_status);
    free(p->plan.image);
    free(p);
}

// The part that the launch found damaged, or -1.
static int fault_of(ecd_backend *be, ecd_decode_plan *p, cudaStream_t stream)
{
    size_t bytes = (size_t)p->plan.status_count * sizeof *p->host_status;
    uint32_t part = 0;
    uint64_t tile = 0;
    if (!runtime(be, "copying from the device",
                 cudaMemcpyAsync(p->host_status, p->status, bytes, cudaMemcpyDeviceToHost, stream)) ||
        !runtime(be, "decoding", cudaStreamSynchronize(stream)))
        return -1;
    return ecd_ecf8_first_fault(&p->plan, p->host_status, &part, &tile) == ECF8_OK ? -1 : (int)part;
}

int ecd_cuda_decode(ecd_backend *be, ecd_decode_plan *p, void *out, bool verify)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    cudaStream_t main = (cudaStream_t)cuda->stream, stream = (cudaStream_t)cuda->decode_stream;
    if (!ecd_backend_ok(be) ||
        !runtime(be, "ordering streams", cudaEventRecord((cudaEvent_t)cuda->free_again, main)) ||
        !runtime(be, "ordering streams", cudaStreamWaitEvent(stream, (cudaEvent_t)cuda->free_again, 0)) ||
        !runtime(be, "decoding", cudaMemsetAsync(p->status, 0, sizeof *p->status, stream)) ||
        !runtime(be, "decoding", (cudaError_t)ecd_ecf8_decode(&p->plan, p->image, out, p->status, verify, stream)) ||
        !runtime(be, "ordering streams", cudaEventRecord(p->done, stream)))
        return -1;
    return verify ? fault_of(be, p, stream) : -1;
}

void ecd_cuda_decode_join(ecd_backend *be, ecd_decode_plan *p)
{
    if (ecd_backend_ok(be))
        runtime(be, "ordering streams", cudaStreamWaitEvent((cudaStream_t)ecd_cuda_of(be)->stream, p->done, 0));
}
