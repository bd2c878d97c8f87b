// Matrix products by cuBLASLt. Every call of that library is in cublaslt.c.
//
// What is asked of it: out = x w^T for one picture, BF16 or f32 operands, f32 sums (never TF32, no partial sums in BF16), or
// E4M3 operands with one scale for x and the sums that tensor cores make of them (no fast accumulation).
// The algorithm of a shape is the first fit one that the library's heuristic names, or the fastest of those (choices.h),
// asked once and kept: the same shape always takes the same one, so a picture's bits do not depend on the batch. Its own
// epilogues are used where they say exactly what backend.h does: a bias onto f32 outputs. Not for GELU: a BF16 output wants
// a BF16 bias there, and the precision of its tanh is not stated.
#ifndef ECD_KERNELS_CUDA_CUBLASLT_H
#define ECD_KERNELS_CUDA_CUBLASLT_H

#include "kernels/backend.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/kernels.h"

typedef struct ecd_cublaslt ecd_cublaslt;

enum { ECD_CUBLASLT_ALIGN = 16, ECD_CUBLASLT_WORKSPACE = 32 << 20 };

typedef enum ecd_cublaslt_operands { ECD_CUBLASLT_F32, ECD_CUBLASLT_BF16, ECD_CUBLASLT_E4M3 } ecd_cublaslt_operands;

// out[rows][channels] (+)= x[rows][cols] w[channels][cols]^T + bias, all row-major in device memory. Operands, and their
// strides in bytes, are multiples of ECD_CUBLASLT_ALIGN; with E4M3 cols and channels are multiples of it too.
typedef struct ecd_cublaslt_product {
    ecd_cublaslt_operands operands; // x and w
    bool out_narrow; // out: BF16, else f32
    bool add;        // to what out holds
    int64_t rows, cols, channels;
    int64_t x_stride, w_stride, out_stride; // elements
    const void *x, *w;
    const float *bias;    // f32 outputs only, or NULL; not with E4M3
    const float *x_scale; // E4M3: device memory, one number that x is to be multiplied by
    void *out;
} ecd_cublaslt_product;

// file: see ecd_library_open. ECD_RESOURCE where it is missing or refuses to start. choices: borrowed until it is closed.
ecd_status ecd_cublaslt_open(const char *file, ecd_choices *choices, ecd_cublaslt **out, ecd_diag *diag);
void ecd_cublaslt_close(ecd_cublaslt *lt); // NULL is allowed
size_t ecd_cublaslt_version(const ecd_cublaslt *lt); // 130100 for 13.1.0

// workspace: ECD_CUBLASLT_WORKSPACE bytes of device memory. A failure is kept in `be`.
void ecd_cublaslt_multiply(ecd_backend *be, ecd_cublaslt *lt, const ecd_cublaslt_product *p, void *workspace,
                           ecd_cuda_stream *stream);

#endif
