// The calls of the CUDA runtime that ecdit uses. Everything happens at once: a stream's work is done when the call returns.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cuda_runtime.h>

#include "tests/cuda_emu/emu_internal.h"

enum { MAX_KERNELS = 256, RECORDED_BYTES = 64 << 20 };

static cudaError_t last_error;
static uint64_t fail_at, fail_launch_at;
static int device_count = 1, capability[2] = {9, 0};
static struct {
    const void *kernel;
    size_t shared_bytes;
} allowed[MAX_KERNELS];
static unsigned allowed_count;

struct emu_stream {
    int unused;
};
struct emu_event {
    double at_ms;
};
static double clock_ms;

static cudaError_t result(cudaError_t error)
{
    if (error)
        last_error = error;
    return error ? error : emu_error() ? cudaErrorLaunchFailure : cudaSuccess;
}

int emu_note_error(int error)
{
    return result((cudaError_t)error);
}

// For calls that no capture allows: success where there is none, whatever faults there were.
static cudaError_t outside_captures(void)
{
    const cudaError_t error = (cudaError_t)emu_capture_refuses();
    return error ? result(error) : cudaSuccess;
}

void emu_pass_time(double ms)
{
    clock_ms += ms;
}

void emu_fail_allocation(uint64_t nth)
{
    fail_at = nth;
}

void emu_fail_launch(uint64_t nth)
{
    fail_launch_at = nth;
}

bool emu_launch_fails(void)
{
    return fail_launch_at && --fail_launch_at == 0;
}

void emu_forget_peak(void)
{
    emu_count.peak_bytes = emu_count.device_bytes;
}

void emu_set_capability(int major, int minor)
{
    capability[0] = major;
    capability[1] = minor;
}

void emu_set_device_count(int count)
{
    device_count = count;
}

bool emu_shared_allowed(const void *kernel, size_t bytes)
{
    if (bytes <= EMU_DEFAULT_SHARED_BYTES)
        return true;
    for (unsigned i = 0; i < allowed_count; i++)
        if (allowed[i].kernel == kernel)
            return bytes <= allowed[i].shared_bytes;
    return false;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return result(cudaSuccess);
    if (value < 0 || value > EMU_MAX_SHARED_BYTES)
        return result(cudaErrorInvalidValue);
    unsigned i = 0;
    while (i < allowed_count && allowed[i].kernel != kernel)
        i++;
    if (i == MAX_KERNELS)
        return result(cudaErrorMemoryAllocation);
    allowed_count = i == allowed_count ? i + 1 : allowed_count;
    allowed[i].kernel = kernel;
    allowed[i].shared_bytes = (size_t)value;
    return result(cudaSuccess);
}

// ---------------------------------------------------------------- memory

// Garbage at `at`: a file of it is filled once and mapped privately, so that large pieces of which little is used cost little.
static bool map_garbage(uint8_t *at, size_t bytes)
{
    enum { PIECE = 1 << 20 };
    static int file = -1;
    static size_t filled;
    uint8_t *garbage = filled < bytes ? malloc(PIECE) : NULL;
    if (garbage)
        memset(garbage, EMU_GARBAGE, PIECE);
    if (file < 0)
        file = memfd_create("garbage", MFD_CLOEXEC);
    while (garbage && filled < bytes && pwrite(file, garbage, PIECE, (off_t)filled) == PIECE)
        filled += PIECE;
    free(garbage);
    return filled >= bytes &&
           mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) == (void *)at;
}

// A guard page before, at least one behind, for what the compiler's calls do not see (memcpy and the like).
cudaError_t cudaMalloc(void **out, size_t bytes)
{
    *out = NULL;
    if (!device_count)
        return result(cudaErrorNoDevice);
    cudaError_t refused = outside_captures();
    if (refused)
        return refused;
    if (fail_at && --fail_at == 0) {
        fail_at = 1;
        return result(cudaErrorMemoryAllocation);
    }
    if (!bytes)
        return result(cudaSuccess);
    emu_region *r = calloc(1, sizeof *r);
    const size_t whole = (bytes + EMU_PAGE - 1) / EMU_PAGE * EMU_PAGE;
    uint8_t *p = r ? mmap(NULL, whole + 2 * EMU_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                   : MAP_FAILED;
    if (p == MAP_FAILED || !map_garbage(p + EMU_PAGE, whole)) {
        free(r);
        return result(cudaErrorMemoryAllocation);
    }
    r->base = p + EMU_PAGE;
    r->bytes = bytes;
    r->mapped_bytes = whole;
    if (whole <= RECORDED_BYTES) {
        r->touched = mmap(NULL, whole * sizeof(emu_touch), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        r->touched = (void *)r->touched == MAP_FAILED ? NULL : r->touched;
    }
    r->next = emu_regions;
    emu_regions = r;
    emu_count.allocations++;
    emu_count.device_bytes += bytes;
    if (emu_count.device_bytes > emu_count.peak_bytes)
        emu_count.peak_bytes = emu_count.device_bytes;
    *out = r->base;
    return result(cudaSuccess);
}

cudaError_t cudaFree(void *p)
{
    cudaError_t refused = outside_captures();
    if (!p || refused)
        return refused ? refused : result(cudaSuccess);
    for (emu_region **link = &emu_regions, *r; (r = *link) != NULL; link = &r->next) {
        if (r->base != p)
            continue;
        *link = r->next;
        if (r->touched)
            munmap(r->touched, r->mapped_bytes * sizeof(emu_touch));
        munmap(r->base - EMU_PAGE, r->mapped_bytes + 2 * EMU_PAGE);
        emu_count.allocations--;
        emu_count.device_bytes -= r->bytes;
        free(r);
        return result(cudaSuccess);
    }
    return result(cudaErrorInvalidValue);
}

cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    return cudaMalloc(out, bytes);
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream)
{
    (void)stream;
    return cudaFree(p);
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    cudaError_t refused = outside_captures();
    if (refused)
        return refused;
    if (fail_at && --fail_at == 0) {
        fail_at = 1;
        *out = NULL;
        return result(cudaErrorMemoryAllocation);
    }
    *out = malloc(bytes ? bytes : 1);
    emu_count.pinned += *out != NULL;
    return result(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *p)
{
    cudaError_t refused = outside_captures();
    if (refused)
        return refused;
    emu_count.pinned -= p != NULL;
    free(p);
    return result(cudaSuccess);
}

// The one pool, of which each allocation is given back at once.
struct emu_pool {
    uint64_t threshold;
};

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device)
{
    static struct emu_pool only;
    *pool = &only;
    return result(device >= 0 && device < device_count ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    if (!pool || attribute != cudaMemPoolAttrReleaseThreshold)
        return result(cudaErrorInvalidValue);
    memcpy(&pool->threshold, value, sizeof pool->threshold);
    return result(cudaSuccess);
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    bool high = attribute == cudaMemPoolAttrUsedMemHigh || attribute == cudaMemPoolAttrReservedMemHigh;
    uint64_t bytes = attribute == cudaMemPoolAttrReleaseThreshold ? pool->threshold
                     : high                                       ? emu_count.peak_bytes
                                                                  : emu_count.device_bytes;
    memcpy(value, &bytes, sizeof bytes);
    return result(cudaSuccess);
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep_bytes)
{
    (void)keep_bytes;
    return result(pool ? cudaSuccess : cudaErrorInvalidValue);
}

// Device memory must hold all the bytes; host memory is for the sanitizers.
static bool held(const void *p, size_t bytes, bool device)
{
    for (const emu_region *r = emu_regions; r; r = r->next)
        if ((uintptr_t)p - (uintptr_t)r->base < r->bytes)
            return device && bytes <= r->bytes - ((uintptr_t)p - (uintptr_t)r->base);
    return !device;
}

static cudaError_t check_copy(const void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind != cudaMemcpyDefault && (!held(to, bytes, to_device) || !held(from, bytes, from_device)))
        return cudaErrorInvalidValue;
    return cudaSuccess;
}

static cudaError_t copy_now(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const cudaError_t error = bytes ? check_copy(to, from, bytes, kind) : cudaSuccess;
    if (bytes && !error)
        memmove(to, from, bytes);
    return result(error);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const cudaError_t refused = outside_captures();
    return refused ? refused : copy_now(to, from, bytes, kind);
}

typedef struct filling {
    void *to;
    const void *from; // NULL: of the byte
    size_t bytes;
    int byte;
} filling;

static void fill(void *arguments)
{
    const filling *f = arguments;
    if (!held(f->to, f->bytes, true) || (f->from && !held(f->from, f->bytes, true)))
        last_error = cudaErrorInvalidValue; // freed since
    else if (f->from)
        memmove(f->to, f->from, f->bytes);
    else
        memset(f->to, f->byte, f->bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    const filling f = {to, from, bytes, 0};
    if (!emu_captures(stream))
        return copy_now(to, from, bytes, kind);
    if (kind != cudaMemcpyDeviceToDevice)
        return outside_captures();
    const cudaError_t error = bytes ? check_copy(to, from, bytes, kind) : cudaSuccess;
    return result(error || !bytes ? error : (cudaError_t)emu_capture(fill, &f, sizeof f));
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    (void)stream;
    if (width > to_pitch || width > from_pitch)
        return result(cudaErrorInvalidValue);
    for (size_t y = 0; y < height; y++) {
        const cudaError_t error =
            cudaMemcpy((uint8_t *)to + y * to_pitch, (const uint8_t *)from + y * from_pitch, width, kind);
        if (error)
            return error;
    }
    return result(cudaSuccess);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    const filling f = {p, NULL, bytes, value};
    if (bytes && !held(p, bytes, true))
        return result(cudaErrorInvalidValue);
    if (bytes && emu_captures(stream))
        return result((cudaError_t)emu_capture(fill, &f, sizeof f));
    if (bytes)
        memset(p, value, bytes);
    return result(cudaSuccess);
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    const cudaError_t refused = outside_captures();
    return refused ? refused : cudaMemsetAsync(p, value, bytes, NULL);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *total_bytes = (size_t)8 << 30;
    *free_bytes = *total_bytes - (size_t)emu_count.device_bytes;
    return result(cudaSuccess);
}

// ---------------------------------------------------------------- devices, streams, events

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = device_count;
    return result(device_count ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    return result(device >= 0 && device < device_count ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return result(device_count ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    if (device < 0 || device >= device_count)
        return result(cudaErrorInvalidDevice);
    *value = attribute == cudaDevAttrMultiProcessorCount                  ? 4
             : attribute == cudaDevAttrComputeCapabilityMajor             ? capability[0]
             : attribute == cudaDevAttrComputeCapabilityMinor             ? capability[1]
             : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin       ? EMU_MAX_SHARED_BYTES
             : attribute == cudaDevAttrMaxSharedMemoryPerMultiprocessor   ? 228 * 1024
             : attribute == cudaDevAttrMaxThreadsPerMultiProcessor        ? 2048
             : attribute == cudaDevAttrL2CacheSize                        ? 50 << 20
                                                                          : 0;
    return result(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    if (device < 0 || device >= device_count)
        return result(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    strcpy(properties->name, "emulated device");
    properties->totalGlobalMem = (size_t)8 << 30;
    properties->major = capability[0];
    properties->minor = capability[1];
    properties->multiProcessorCount = 4;
    properties->sharedMemPerBlock = EMU_DEFAULT_SHARED_BYTES;
    properties->sharedMemPerBlockOptin = EMU_MAX_SHARED_BYTES;
    properties->l2CacheSize = 50 << 20;
    properties->warpSize = EMU_WARP;
    return result(cudaSuccess);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    emu_count.objects += *stream != NULL;
    return result(*stream ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    emu_count.objects -= stream != NULL;
    free(stream);
    return result(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return emu_captures(stream) ? outside_captures() : result(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    if (emu_captures(stream))
        return outside_captures();
    return result(event ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    emu_count.objects += *event != NULL;
    return result(*event ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    emu_count.objects -= event != NULL;
    free(event);
    return result(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (emu_captures(stream))
        return outside_captures();
    if (event)
        event->at_ms = clock_ms;
    return result(event ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const cudaError_t refused = outside_captures();
    return refused ? refused : result(event ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return cudaEventSynchronize(event);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = from && to ? (float)(to->at_ms - from->at_ms) : 0;
    return result(from && to ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaDeviceSynchronize(void)
{
    const cudaError_t refused = outside_captures();
    return refused ? refused : result(cudaSuccess);
}

cudaError_t cudaPeekAtLastError(void)
{
    return emu_error() ? cudaErrorLaunchFailure : last_error;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit: return "operation would make the legacy stream depend on a capturing blocking stream";
    case cudaErrorLaunchFailure: return emu_error() ? emu_error() : "unspecified launch failure";
    default: return "unknown error";
    }
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error ? "cudaErrorEmulated" : "cudaSuccess";
}
