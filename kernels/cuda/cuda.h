// The CUDA backend: what its host files share.
//
// cuda.c opens and closes it and moves memory; ops.c calls the kernels that need nothing but a launch; linear.c and conv.c
// lead products and convolutions, whose libraries are called in cublaslt.c and cudnn.c alone; decode.c holds ECF8 on the
// device and decodes it there, queues.c sends it there; memory.c is the device's memory pool. Kernels are the .cu files, behind kernels.h.
//
// How the libraries are linked. The runtime is linked statically: it finds the driver (libcuda) by itself when it is first
// called, so a program built with CUDA starts on a machine without one and says that there is no device. cuBLASLt and cuDNN
// are hundreds of megabytes each and come with a machine's toolkit or not; they are loaded by dlopen when the backend is
// opened, so that the program starts without them, and one build takes the version that is there.
#ifndef ECD_KERNELS_CUDA_CUDA_H
#define ECD_KERNELS_CUDA_CUDA_H

#include "kernels/backend.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/sequence.h"

// Files to load the libraries from: NULL for the usual ones, "" for symbols of the program itself (tests' fakes).
typedef struct ecd_cuda_libraries {
    const char *cublaslt, *cudnn;
} ecd_cuda_libraries;

// A picture's rows that the scratch holds as a product takes them: quantised, or packed. x NULL: it holds none.
typedef struct ecd_cuda_brought {
    const void *x;
    int64_t rows, cols, stride;
    bool fp8;
} ecd_cuda_brought;

typedef struct ecd_cuda_backend {
    ecd_backend base;
    ecd_backend_ops ops;
    ecd_cuda_stream *stream; // all operations, in order
    ecd_cuda_stream *queues[ECD_QUEUES]; // beside them; NULL before the first use, and that of the operations
    void *free_again; // cudaEvent_t: operations that may read what is decoded over; NULL before the first plan
    void *pool;       // cudaMemPool_t that device memory comes from
    ecd_choices *choices;
    uint32_t multiprocessors;
    uint32_t decode_blocks;       // of threads that the device holds at once, decoding
    uint32_t shared_bytes;        // shared memory that a block of threads can have
    size_t chunk_bytes;           // of a chunk of a weight that stays ECF8; 0: none stays so
    int64_t fused_rows;           // rows of activations up to which products are formed while decoding
    struct ecd_cuda_slots *slots; // that chunks are decoded to; NULL before the first weight
    ecd_cublaslt *cublaslt;
    ecd_cudnn *cudnn;
    ecd_sequences *sequences; // NULL: operations are queued one by one
    void *scratch; // device memory, grown at the first use of a larger shape; one operation's at a time
    ecd_cuda_brought brought; // what linear's last x left in the scratch
    size_t scratch_bytes;
    uint64_t held_bytes; // convolutions' weights
    char text[160];      // base.detail
} ecd_cuda_backend;

static inline ecd_cuda_backend *ecd_cuda_of(ecd_backend *be)
{
    return (ecd_cuda_backend *)be;
}

static inline bool ecd_cuda_narrow(const ecd_backend *be)
{
    return be->act_bytes == 2;
}

// Opens device ECD_CUDA_DEVICE of the environment, or 0 where it is not set. ECD_RESOURCE where there is no device, one of
// less than compute capability 8.0, or no library. ECD_CUDA_TUNE=1 of the environment has algorithms chosen by timing
// (choices.h), ECD_CUDA_GRAPHS=0 queues sequences without graphs (sequence.h). ECD_CUDA_CHUNK_KIB=N (0: off) has weights stay
// ECF8 and products go by chunks of N KiB of decoded weights, without graphs; ECD_CUDA_FUSED_ROWS=N (0 to 16) has those of so
// few rows of activations formed while decoding (coded.c, coded_linear.c).
ecd_status ecd_cuda_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag);
ecd_status ecd_cuda_open_with(const ecd_backend_options *options, const ecd_cuda_libraries *libraries,
                              ecd_backend **out, ecd_diag *diag);

// The stream of all operations. What a sequence holds back is queued first, and ends it.
ecd_cuda_stream *ecd_cuda_stream_of(ecd_backend *be);

// Keeps a launch's failure; text NULL is none. Returns whether it went well.
bool ecd_cuda_done(ecd_backend *be, const char *what, const char *error);

// The scratch, at least size_bytes (which may be 0) large, aligned to 256; NULL after keeping a failure and only then. What it
// held is no longer noted (`brought`).
void *ecd_cuda_scratch(ecd_backend *be, size_t size_bytes);

// Pieces of scratch are laid out by adding these up.
static inline size_t ecd_cuda_piece(int64_t rows, int64_t cols, size_t element_bytes)
{
    return ((size_t)rows * (size_t)cols * element_bytes + 255) / 256 * 256;
}

void *ecd_cuda_alloc(ecd_backend *be, size_t size_bytes);
void ecd_cuda_free(ecd_backend *be, void *memory);
void ecd_cuda_upload(ecd_backend *be, void *to, const void *from_host, size_t size_bytes);
void ecd_cuda_copy(ecd_backend *be, void *to, const void *from, size_t size_bytes);

void ecd_cuda_linear(ecd_backend *be, const ecd_linear *op); // weights as elements
void ecd_cuda_widen(ecd_backend *be, const ecd_weight *w, void *to);
ecd_conv_weight *ecd_cuda_conv_prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                       const float *bias);
void ecd_cuda_conv_free(ecd_backend *be, ecd_conv_weight *w);
void ecd_cuda_conv(ecd_backend *be, const ecd_conv *op);
ecd_decode_plan *ecd_cuda_decode_prepare(ecd_backend *be, const ecd_decode_part *parts, int count);
void ecd_cuda_decode_free(ecd_backend *be, ecd_decode_plan *plan);
int ecd_cuda_decode(ecd_backend *be, ecd_decode_plan *plan, void *out, bool verify);
void ecd_cuda_decode_join(ecd_backend *be, ecd_decode_plan *plan);
uint64_t ecd_cuda_decode_bytes(ecd_backend *be, const ecd_decode_part *parts, int count, bool there);
void ecd_cuda_decode_close(ecd_cuda_backend *cuda);

uint64_t ecd_cuda_linear_scratch(ecd_backend *be, const ecd_weight *w, int64_t rows);
uint64_t ecd_cuda_conv_scratch(ecd_backend *be, const ecd_conv_shape *shape, const ecd_conv *op);

// memory.c
ecd_status ecd_cuda_memory_open(ecd_cuda_backend *cuda, ecd_diag *diag);
void ecd_cuda_memory_close(ecd_cuda_backend *cuda);
void ecd_cuda_fill_memory(ecd_backend_ops *ops);

// queues.c
ecd_cuda_stream *ecd_cuda_queue(ecd_backend *be, ecd_queue queue); // NULL after a failure
void ecd_cuda_queues_wait(ecd_backend *be);                        // the host, for those beside the operations
void ecd_cuda_queues_close(ecd_cuda_backend *cuda);
void ecd_cuda_fill_queues(ecd_backend_ops *ops);

// coded.c
ecd_status ecd_cuda_coded_open(ecd_cuda_backend *cuda, ecd_diag *diag); // reads the environment
void ecd_cuda_coded_close(ecd_cuda_backend *cuda);
ecd_coded_held *ecd_cuda_coded_hold(ecd_backend *be, const ecd_weight *w);
void ecd_cuda_coded_free(ecd_backend *be, ecd_coded_held *held);
// A weight's elements, in memory of their own if they had to be decoded, which the caller frees whatever the result (NULL where
// there is none). False after keeping a failure.
bool ecd_cuda_coded_expand(ecd_backend *be, const ecd_weight *w, ecd_weight *out, void **memory);
void ecd_cuda_linear_by_chunks(ecd_backend *be, const ecd_linear *op); // weights in either form

void ecd_cuda_fill_ops(ecd_backend_ops *ops); // ops.c: the operations that need nothing but a launch

#endif
