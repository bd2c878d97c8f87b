// A CUDA runtime whose device memory is address space without access: sizes of whole models cost nothing, and whoever looks
// into it faults. For tests of what is passed to libraries and kernels, not of what they compute.
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cuda/ecf8_product.h"
#include "kernels/cuda/ecf8_published.h"
#include "tests/cuda_fake/device_none.h"
#include "tests/cuda_fake/fake.h"

enum { PIECES = 64 };

static struct {
    char *base;
    size_t bytes;
} pieces[PIECES];
static char objects[8]; // streams and events are their addresses

bool ecd_fake_device_holds(const void *at, size_t bytes)
{
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].base && (uintptr_t)at - (uintptr_t)pieces[i].base < pieces[i].bytes)
            return bytes <= pieces[i].bytes - ((uintptr_t)at - (uintptr_t)pieces[i].base);
    return false;
}

int ecd_fake_pieces(void)
{
    int count = 0;
    for (int i = 0; i < PIECES; i++)
        count += pieces[i].base != NULL;
    return count;
}

cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    for (int i = 0; i < PIECES; i++) {
        if (pieces[i].base)
            continue;
        void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return cudaErrorMemoryAllocation;
        pieces[i].base = *out = p;
        pieces[i].bytes = bytes;
        return cudaSuccess;
    }
    return cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream)
{
    (void)stream;
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].base == p) {
            munmap(p, pieces[i].bytes);
            pieces[i].base = NULL;
            return cudaSuccess;
        }
    return cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    (void)stream;
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    bool good = ecd_fake_expect((!to_device || ecd_fake_device_holds(to, bytes)) &&
                                    (!from_device || ecd_fake_device_holds(from, bytes)),
                                "a copy of %zu bytes outside of device memory", bytes);
    return good ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    (void)p, (void)value, (void)bytes, (void)stream;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = malloc(bytes);
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = *total_bytes = (size_t)80 << 30;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device)
{
    *pool = (cudaMemPool_t)(void *)&objects[3];
    return device ? cudaErrorInvalidDevice : cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    return pool && attribute == cudaMemPoolAttrReleaseThreshold && value ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    memset(value, 0, sizeof(uint64_t));
    return pool && attribute ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep_bytes)
{
    return pool && !keep_bytes ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device ? cudaErrorInvalidDevice : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    (void)device;
    memset(properties, 0, sizeof *properties);
    strcpy(properties->name, "no device");
    properties->major = 9;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = (cudaStream_t)(void *)&objects[1];
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = (cudaEvent_t)(void *)&objects[2];
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    (void)stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream, (void)event, (void)flags;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)event, (void)stream;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error ? "refused" : "no error";
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    (void)from, (void)to;
    *ms = 1;
    return cudaSuccess;
}

void ecd_fake_take(double ms)
{
    (void)ms;
}

// No stream of this device is captured.
bool ecd_fake_defers(void *stream, void (*run)(void *arguments), const void *arguments, size_t bytes)
{
    (void)stream, (void)run, (void)arguments, (void)bytes;
    return false;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)stream, (void)mode;
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    (void)stream;
    *out = NULL;
    return cudaErrorIllegalState;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    (void)graph, (void)flags;
    *out = NULL;
    return cudaErrorInvalidValue;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    (void)graph;
    return cudaErrorInvalidValue;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    (void)exec;
    return cudaErrorInvalidValue;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec, (void)stream;
    return cudaErrorInvalidValue;
}

// ---- kernels: only what linear and conv launch is looked at

static const char *holds(const char *what, const void *at, int64_t elements, size_t element_bytes)
{
    bool good = ecd_fake_expect(ecd_fake_device_holds(at, (size_t)elements * element_bytes),
                                "%s: %lld elements of %zu bytes are not in device memory", what, (long long)elements,
                                element_bytes);
    return good ? NULL : ecd_fake_error();
}

static const char *both(const char *first, const char *second)
{
    return first ? first : second;
}

static int64_t span(int64_t rows, int64_t stride, int64_t cols)
{
    return rows > 0 ? (rows - 1) * stride + cols : 0;
}

const char *ecd_cuda_launch_expand(ecd_cuda_stream *stream, bool narrow, const ecd_weight *w, int64_t out_stride, void *out)
{
    (void)stream;
    return both(holds("expand: the weight", w->data, w->rows * w->cols, ecd_dtype_size(w->dtype)),
                holds("expand: its place", out, w->rows * out_stride, narrow ? 2 : 4));
}

const char *ecd_cuda_launch_quantize(ecd_cuda_stream *stream, const void *x, int64_t rows, int64_t cols, int64_t x_stride,
                                     void *out, float *scale, uint32_t *largest)
{
    (void)stream;
    return both(both(holds("rows", x, span(rows, x_stride, cols), 2), holds("rows quantised", out, rows * cols, 1)),
                both(holds("their scale", scale, 1, 4), holds("their largest", largest, 1, 4)));
}

const char *ecd_cuda_launch_pack_rows(ecd_cuda_stream *stream, bool narrow, const void *x, int64_t rows, int64_t cols,
                                      int64_t x_stride, int64_t out_stride, void *out)
{
    (void)stream;
    return both(holds("rows", x, span(rows, x_stride, cols), narrow ? 2 : 4),
                holds("rows packed", out, rows * out_stride, narrow ? 2 : 4));
}

const char *ecd_cuda_launch_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_linear *op, int64_t first_row,
                                     int64_t rows, const float *sums, int64_t sums_stride)
{
    (void)stream;
    bool f32 = op->out_f32 || op->epilogue == ECD_EPILOGUE_RESIDUAL || !narrow;
    int64_t stride = op->out_stride ? op->out_stride : op->w->rows;
    const char *out = (const char *)op->out + (size_t)(first_row * stride) * (f32 ? 4 : 2);
    return both(holds("sums", sums, span(rows, sums_stride, op->w->rows), 4),
                holds("the product's output", out, span(rows, stride, op->w->rows), f32 ? 4 : 2));
}

const char *ecd_cuda_launch_expand_conv(ecd_cuda_stream *stream, bool narrow, const ecd_weight *w, const float *bias,
                                        int64_t taps, int64_t in_channels, int64_t out_channels, void *out,
                                        float *scales, float *biases)
{
    (void)stream, (void)bias, (void)w;
    return both(holds("a filter", out, out_channels * taps * in_channels, narrow ? 2 : 4),
                both(holds("scales", scales, out_channels, 4), holds("biases", biases, out_channels, 4)));
}

const char *ecd_cuda_launch_gather(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                   int64_t first, int64_t rows, int before, int after, int64_t out_channels, void *out)
{
    (void)stream, (void)first;
    int64_t width = op->width * (op->upsample ? 2 : 1) + before + after;
    return both(holds("a picture", op->x, op->height * op->width * channels, narrow ? 2 : 4),
                holds("a picture gathered", out, rows * width * out_channels, narrow ? 2 : 4));
}

const char *ecd_cuda_launch_conv_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                          int64_t first, int64_t pixels, const void *y, int64_t y_stride,
                                          const float *scale, const float *bias)
{
    (void)stream, (void)scale, (void)bias;
    return both(holds("a convolution's sums", y, span(pixels, y_stride, channels), narrow ? 2 : 4),
                holds("its output", op->out, (first + pixels) * channels, op->out_f32 || !narrow ? 4 : 2));
}

#define NOT_HERE(name, ...)                                                                                            \
    const char *name(__VA_ARGS__)                                                                                      \
    {                                                                                                                  \
        return "not part of this test";                                                                                \
    }
NOT_HERE(ecd_cuda_launch_to_act, ecd_cuda_stream *a, bool b, const float *c, int64_t d, bool e, void *f)
NOT_HERE(ecd_cuda_launch_to_f32, ecd_cuda_stream *a, bool b, const void *c, int64_t d, float *e)
NOT_HERE(ecd_cuda_launch_add_rows, ecd_cuda_stream *a, const ecd_weight *b, const int64_t *c, int64_t d, float *e)
NOT_HERE(ecd_cuda_launch_norm, ecd_cuda_stream *a, bool b, const ecd_norm *c)
NOT_HERE(ecd_cuda_launch_rope, ecd_cuda_stream *a, bool b, const ecd_rope *c)
NOT_HERE(ecd_cuda_launch_group_measure, ecd_cuda_stream *a, bool b, const ecd_group_norm *c, void *d)
NOT_HERE(ecd_cuda_launch_group_apply, ecd_cuda_stream *a, bool b, const ecd_group_norm *c)
NOT_HERE(ecd_cuda_launch_attention, ecd_cuda_stream *a, const ecd_attention *b)
NOT_HERE(ecd_cuda_launch_attention_mma, ecd_cuda_stream *a, uint32_t b, const ecd_attention *c)
NOT_HERE(ecd_cuda_launch_attention_wide, ecd_cuda_stream *a, const ecd_attention *b)
NOT_HERE(ecd_cuda_launch_patchify, ecd_cuda_stream *a, bool b, const float *c, int64_t d, int64_t e, int64_t f, int64_t g,
         int h, void *i)
NOT_HERE(ecd_cuda_launch_unpatchify, ecd_cuda_stream *a, const float *b, int64_t c, int64_t d, int64_t e, int64_t f, int g,
         bool h, float *i)
NOT_HERE(ecd_cuda_launch_combine, ecd_cuda_stream *a, const ecd_combine *b)
NOT_HERE(ecd_cuda_launch_to_bytes, ecd_cuda_stream *a, const float *b, int64_t c, int64_t d, uint8_t *e)
NOT_HERE(ecd_cuda_launch_channels_last, ecd_cuda_stream *a, bool b, const float *c, int64_t d, int64_t e, void *f)
NOT_HERE(ecd_cuda_launch_channels_first, ecd_cuda_stream *a, const float *b, int64_t c, int64_t d, float *e)

size_t ecd_cuda_group_measure_bytes(const ecd_group_norm *op)
{
    (void)op;
    return 1;
}

int ecd_ecf8_decode(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status, int checksums, void *stream)
{
    (void)plan, (void)image, (void)out, (void)status, (void)checksums, (void)stream;
    return cudaErrorInvalidValue;
}

int ecd_ecf8_published_decode(const ecf8_published *group, const void *const parts[ECF8_PUBLISHED_PARTS], ecf8_form form,
                              void *out, uint32_t *status, void *stream)
{
    (void)group, (void)parts, (void)form, (void)out, (void)status, (void)stream;
    return cudaErrorInvalidValue;
}

int ecd_ecf8_decode_pieces(const ecd_ecf8_plan *plan, const void *image, void *out, uint32_t *status, void *stream)
{
    return ecd_ecf8_decode(plan, image, out, status, 0, stream);
}

int ecd_ecf8_decode_part(const ecd_ecf8_plan *plan, const void *image, uint32_t part, void *out, uint32_t *status,
                         int checksums, void *stream)
{
    (void)part;
    return ecd_ecf8_decode(plan, image, out, status, checksums, stream);
}

bool ecd_ecf8_product_fits(const ecf8_view *view, uint64_t cols, uint32_t rows, uint32_t shared_bytes)
{
    (void)view, (void)cols, (void)rows, (void)shared_bytes;
    return false;
}

uint64_t ecd_ecf8_product_bytes(const ecf8_view *view, uint64_t cols, uint32_t rows)
{
    (void)view, (void)cols, (void)rows;
    return 0;
}

int ecd_ecf8_multiply(const ecd_ecf8_plan *plan, const void *image, const ecd_ecf8_product *p, uint32_t *status, void *stream)
{
    (void)plan, (void)image, (void)p, (void)status, (void)stream;
    return cudaErrorInvalidValue;
}
