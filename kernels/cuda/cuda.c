#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>

#include <cuda_runtime_api.h>

#include "kernels/backends.h"
#include "kernels/cuda/ecf8_decode.h"

ecd_cuda_stream *ecd_cuda_stream_of(ecd_backend *be)
{
    ecd_cuda_sequence_flush(be);
    return ecd_cuda_of(be)->stream;
}

static cudaStream_t stream_of(ecd_backend *be)
{
    return (cudaStream_t)ecd_cuda_stream_of(be);
}

static bool runtime(ecd_backend *be, const char *what, cudaError_t error)
{
    if (error == cudaSuccess)
        return true;
    cudaGetLastError(); // so that the next launch does not report it again
    ecd_backend_fail(be, ECD_RESOURCE, "backend cuda: %s: %s", what, cudaGetErrorString(error));
    return false;
}

bool ecd_cuda_done(ecd_backend *be, const char *what, const char *error)
{
    if (error)
        ecd_backend_fail(be, ECD_RESOURCE, "backend cuda: %s: %s", what, error);
    return !error;
}

void *ecd_cuda_alloc(ecd_backend *be, size_t size_bytes)
{
    void *memory = NULL;
    cudaError_t error = cudaMallocAsync(&memory, size_bytes ? size_bytes : 1, stream_of(be));
    if (error == cudaSuccess)
        return memory;
    cudaGetLastError();
    ecd_backend_fail(be, ECD_RESOURCE, "backend cuda: %zu bytes of device memory: %s", size_bytes,
                     cudaGetErrorString(error));
    return NULL;
}

// In the stream's order: what still uses the memory comes before.
void ecd_cuda_free(ecd_backend *be, void *memory)
{
    if (memory)
        runtime(be, "freeing device memory", cudaFreeAsync(memory, stream_of(be)));
}

static void move(ecd_backend *be, const char *what, void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    if (ecd_backend_ok(be) && bytes)
        runtime(be, what, cudaMemcpyAsync(to, from, bytes, kind, stream_of(be)));
}

static void wait(ecd_backend *be)
{
    if (ecd_backend_ok(be))
        runtime(be, "a kernel failed", cudaStreamSynchronize(stream_of(be)));
}

// The host's memory is the caller's again when this returns.
void ecd_cuda_upload(ecd_backend *be, void *to, const void *from_host, size_t size_bytes)
{
    move(be, "copying to the device", to, from_host, size_bytes, cudaMemcpyHostToDevice);
    wait(be);
}

static void download(ecd_backend *be, void *to_host, const void *from, size_t size_bytes)
{
    move(be, "copying from the device", to_host, from, size_bytes, cudaMemcpyDeviceToHost);
    wait(be);
}

void ecd_cuda_copy(ecd_backend *be, void *to, const void *from, size_t size_bytes)
{
    move(be, "copying on the device", to, from, size_bytes, cudaMemcpyDeviceToDevice);
}

void *ecd_cuda_scratch(ecd_backend *be, size_t size_bytes)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    cuda->brought = (ecd_cuda_brought){0};
    if (!ecd_backend_ok(be))
        return NULL;
    if (size_bytes > cuda->scratch_bytes || !cuda->scratch) {
        size_bytes = size_bytes ? size_bytes : 1; // NULL says failed
        if (ecd_cuda_sequence_captures(be)) {
            ecd_backend_fail(be, ECD_RESOURCE, "backend cuda: %zu bytes of scratch within a graph", size_bytes);
            return NULL;
        }
        ecd_cuda_sequences_forget(be);
        ecd_cuda_free(be, cuda->scratch);
        cuda->scratch_bytes = 0;
        cuda->scratch = ecd_cuda_alloc(be, size_bytes);
        if (cuda->scratch)
            cuda->scratch_bytes = size_bytes;
    }
    return cuda->scratch;
}

static uint64_t memory_bytes(const ecd_backend *be)
{
    const ecd_cuda_backend *cuda = (const ecd_cuda_backend *)be;
    return cuda->held_bytes + cuda->scratch_bytes;
}

static void close_cuda(ecd_backend *be)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    ecd_cuda_sequences_close(be);
    if (cuda->stream) {
        ecd_cuda_coded_close(cuda);
        ecd_cuda_free(be, cuda->scratch);
        cudaStreamSynchronize(stream_of(be));
    }
    ecd_cuda_decode_close(cuda);
    ecd_cuda_queues_close(cuda);
    ecd_cublaslt_close(cuda->cublaslt);
    ecd_cudnn_close(cuda->cudnn);
    ecd_choices_close(cuda->choices);
    if (cuda->stream)
        cudaStreamDestroy(stream_of(be));
    ecd_cuda_memory_close(cuda);
    free(cuda);
}

static ecd_backend_ops *cuda_ops(ecd_cuda_backend *cuda)
{
    cuda->ops = (ecd_backend_ops){
        .alloc = ecd_cuda_alloc,
        .free = ecd_cuda_free,
        .upload = ecd_cuda_upload,
        .download = download,
        .copy = ecd_cuda_copy,
        .wait = wait,
        .linear = ecd_cuda_linear,
        .conv_prepare = ecd_cuda_conv_prepare,
        .conv_free = ecd_cuda_conv_free,
        .conv = ecd_cuda_conv,
        .widen = ecd_cuda_widen,
        .decode_prepare = ecd_cuda_decode_prepare,
        .decode_free = ecd_cuda_decode_free,
        .decode = ecd_cuda_decode,
        .decode_join = ecd_cuda_decode_join,
        .sequence_begin = ecd_cuda_sequence_begin,
        .sequence_end = ecd_cuda_sequence_end,
        .decode_bytes = ecd_cuda_decode_bytes,
        .linear_scratch = ecd_cuda_linear_scratch,
        .conv_scratch = ecd_cuda_conv_scratch,
        .memory_bytes = memory_bytes,
        .close = close_cuda,
    };
    ecd_cuda_fill_ops(&cuda->ops);
    ecd_cuda_fill_memory(&cuda->ops);
    ecd_cuda_fill_queues(&cuda->ops);
    return &cuda->ops;
}

static ecd_status refuse(const char *what, cudaError_t error, ecd_diag *diag)
{
    cudaGetLastError();
    return ecd_fail(diag, ECD_RESOURCE, "backend cuda: %s: %s", what, cudaGetErrorString(error));
}

// The device that the environment names, made the thread's.
static ecd_status choose_device(struct cudaDeviceProp *about, ecd_diag *diag)
{
    const char *named = getenv("ECD_CUDA_DEVICE");
    char *end = NULL;
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count < 1)
        return refuse("no CUDA device", error != cudaSuccess ? error : cudaErrorNoDevice, diag);
    long device = named && *named ? strtol(named, &end, 10) : 0;
    if ((end && *end) || device < 0 || device >= count)
        return ecd_fail(diag, ECD_USAGE, "ECD_CUDA_DEVICE is \"%.32s\", expected 0 to %d", named, count - 1);
    if ((error = cudaSetDevice((int)device)) != cudaSuccess ||
        (error = cudaGetDeviceProperties(about, (int)device)) != cudaSuccess)
        return refuse("a CUDA device that does not answer", error, diag);
    if (about->major < 8)
        return ecd_fail(diag, ECD_RESOURCE, "backend cuda: %s has compute capability %d.%d, expected 8.0 or more",
                        about->name, about->major, about->minor);
    return ECD_OK;
}

// A switch of the environment: 0 or 1.
static ecd_status read_switch(const char *name, bool usual, bool *out, ecd_diag *diag)
{
    const char *text = getenv(name);
    *out = text && *text ? *text == '1' : usual;
    if (text && *text && (text[1] || (*text != '0' && *text != '1')))
        return ecd_fail(diag, ECD_USAGE, "%s is \"%.32s\", expected 0 or 1", name, text);
    return ECD_OK;
}

// What choices and sequences need. Devices of one name differ by what of them may be used.
static ecd_status prepare(ecd_cuda_backend *cuda, const char *algorithms, const struct cudaDeviceProp *about, ecd_diag *diag)
{
    char device[sizeof about->name + 32];
    bool tune, graphs;
    ecd_status status = read_switch("ECD_CUDA_TUNE", false, &tune, diag);
    if (!status)
        status = read_switch("ECD_CUDA_GRAPHS", true, &graphs, diag);
    if (status)
        return status;
    snprintf(device, sizeof device, "sm_%d%d,%d,%s", about->major, about->minor, about->multiProcessorCount, about->name);
    cuda->choices = ecd_choices_open(algorithms, device, tune);
    cuda->sequences = graphs ? ecd_cuda_sequences_open() : NULL;
    if (!cuda->choices || (graphs && !cuda->sequences))
        return ecd_fail_memory(diag, sizeof *cuda, "the cuda backend");
    if (!graphs)
        cuda->ops.sequence_begin = cuda->ops.sequence_end = NULL;
    return ECD_OK;
}

static ecd_status start(ecd_cuda_backend *cuda, const ecd_cuda_libraries *libraries, ecd_diag *diag)
{
    cudaStream_t stream = NULL;
    cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (error != cudaSuccess)
        return refuse("no stream", error, diag);
    cuda->stream = (ecd_cuda_stream *)stream;
    ecd_status status = ecd_cuda_memory_open(cuda, diag);
    if (!status)
        status = ecd_cublaslt_open(libraries->cublaslt, cuda->choices, &cuda->cublaslt, diag);
    if (!status)
        status = ecd_cudnn_open(libraries->cudnn, cuda->stream, cuda->choices, &cuda->cudnn, diag);
    return status;
}

ecd_status ecd_cuda_open_with(const ecd_backend_options *options, const ecd_cuda_libraries *libraries,
                              ecd_backend **out, ecd_diag *diag)
{
    *out = NULL;
    struct cudaDeviceProp about;
    ecd_status status = choose_device(&about, diag);
    if (!status && options->compute == ECD_COMPUTE_FP8 && about.major * 10 + about.minor < 89)
        status = ecd_fail(diag, ECD_RESOURCE, "backend cuda: %s has compute capability %d.%d, fp8 takes 8.9 or more",
                          about.name, about.major, about.minor);
    if (status)
        return status;
    ecd_cuda_backend *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        return ecd_fail_memory(diag, sizeof *cuda, "the cuda backend");
    bool narrow = options->compute != ECD_COMPUTE_F32; // tensor cores multiply BF16 on every device that is taken
    bool fp8 = options->compute == ECD_COMPUTE_FP8;
    cuda->base = (ecd_backend){
        .ops = cuda_ops(cuda),
        .name = "cuda",
        .detail = cuda->text,
        .compute = fp8 ? ECD_COMPUTE_FP8 : narrow ? ECD_COMPUTE_BF16 : ECD_COMPUTE_F32,
        .act_bytes = narrow ? 2 : 4,
        .threads = options->threads,
        .host_memory = false,
    };
    cuda->multiprocessors = (uint32_t)(about.multiProcessorCount > 1 ? about.multiProcessorCount : 1);
    cuda->decode_blocks = cuda->multiprocessors * ECD_ECF8_BLOCKS_OF_SM;
    cuda->shared_bytes = (uint32_t)about.sharedMemPerBlockOptin;
    status = prepare(cuda, options->algorithms_file, &about, diag);
    if (!status)
        status = start(cuda, libraries, diag);
    if (!status)
        status = ecd_cuda_coded_open(cuda, diag);
    if (status) {
        close_cuda(&cuda->base);
        return status;
    }
    size_t lt = ecd_cublaslt_version(cuda->cublaslt), dnn = ecd_cudnn_version(cuda->cudnn);
    snprintf(cuda->text, sizeof cuda->text, "%.64s, sm_%d%d, cuBLASLt %zu.%zu, cuDNN %zu.%zu, %s", about.name,
             about.major, about.minor, lt / 10000, lt / 100 % 100, dnn / 10000, dnn / 100 % 100,
             fp8 ? "fp8" : narrow ? "bf16" : "f32");
    *out = &cuda->base;
    return ECD_OK;
}

ecd_status ecd_cuda_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
    return ecd_cuda_open_with(options, &(ecd_cuda_libraries){0}, out, diag);
}
