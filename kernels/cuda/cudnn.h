// Convolutions by cuDNN. Every call of that library is in cudnn.c.
//
// What is asked of it: one picture, channels last, operands and output of the activations' type, f32 sums (FMA, never
// TF32, for f32). The algorithm of a shape is the first deterministic one that the library's heuristic names, or the fastest
// of those (choices.h), asked once and kept.
#ifndef ECD_KERNELS_CUDA_CUDNN_H
#define ECD_KERNELS_CUDA_CUDNN_H

#include "kernels/backend.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/kernels.h"

typedef struct ecd_cudnn ecd_cudnn;

enum { ECD_CUDNN_ALIGN = 16, ECD_CUDNN_CHANNELS = 8 }; // of pointers in bytes; channel counts are multiples

// y [out_height, out_width, out_channels] = conv of x [height, width, in_channels] with w [out_channels, kernel, kernel,
// in_channels]; zeros `pad` wide on all sides. All BF16 if narrow, else f32.
typedef struct ecd_cudnn_shape {
    int narrow, height, width, in_channels, out_channels, kernel, stride, pad;
} ecd_cudnn_shape;

// file: see ecd_library_open. choices: borrowed until it is closed.
ecd_status ecd_cudnn_open(const char *file, ecd_cuda_stream *stream, ecd_choices *choices, ecd_cudnn **out,
                          ecd_diag *diag);
void ecd_cudnn_close(ecd_cudnn *dnn); // NULL is allowed
size_t ecd_cudnn_version(const ecd_cudnn *dnn); // 91900 for 9.19.0

// Bytes of workspace that a shape wants; false after keeping a failure.
bool ecd_cudnn_workspace(ecd_backend *be, ecd_cudnn *dnn, const ecd_cudnn_shape *shape, size_t *bytes);
void ecd_cudnn_convolve(ecd_backend *be, ecd_cudnn *dnn, const ecd_cudnn_shape *shape, const void *x, const void *w,
                        void *y, void *workspace);

#endif
