// The backends that ecd_backend_open knows. `threads` is at least 1 here.
#ifndef ECD_KERNELS_BACKENDS_H
#define ECD_KERNELS_BACKENDS_H

#include "kernels/backend.h"

enum { ECD_THREADS_MAX = 256 };

ecd_status ecd_ref_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag);
ecd_status ecd_cpu_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag);
ecd_status ecd_cuda_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag); // if built with CUDA

#endif
