// The part of cuDNN's binary interface that ecdit uses, by the names of its manual (NVIDIA cuDNN backend API: cudnn_ops,
// cudnn_cnn). Declared here so that host code builds and is tested without cuDNN; where its header is there,
// tests/cuda_fake/abi_check.c compares every number with it. It is the same in cuDNN 8 and 9.
#ifndef ECD_KERNELS_CUDA_CUDNN_ABI_H
#define ECD_KERNELS_CUDA_CUDNN_ABI_H

#include <stddef.h>

enum {
    ECD_DNN_SUCCESS = 0, // cudnnStatus_t
    ECD_DNN_BAD_PARAM = 2000,
    ECD_DNN_NOT_SUPPORTED = 3000,
    ECD_DNN_NHWC = 1, // cudnnTensorFormat_t
    ECD_DNN_FLOAT = 0, // cudnnDataType_t
    ECD_DNN_BFLOAT16 = 9,
    ECD_DNN_CROSS_CORRELATION = 1, // cudnnConvolutionMode_t
    ECD_DNN_TENSOR_OP_MATH = 1,    // cudnnMathType_t
    ECD_DNN_FMA_MATH = 3,          // no TF32
    ECD_DNN_DETERMINISTIC = 1,     // cudnnDeterminism_t
    ECD_DNN_IMPLICIT_GEMM = 0,     // cudnnConvolutionFwdAlgo_t
    ECD_DNN_IMPLICIT_PRECOMP_GEMM = 1,
    ECD_DNN_ALGORITHMS = 8, // CUDNN_CONVOLUTION_FWD_ALGO_COUNT
};

typedef struct ecd_dnn_handle ecd_dnn_handle;
typedef struct ecd_dnn_tensor ecd_dnn_tensor;
typedef struct ecd_dnn_filter ecd_dnn_filter;
typedef struct ecd_dnn_conv ecd_dnn_conv;

typedef struct ecd_dnn_performance { // cudnnConvolutionFwdAlgoPerf_t
    int algorithm, status;
    float time;
    size_t workspace_bytes;
    int determinism, math;
    int reserved[3];
} ecd_dnn_performance;

// The functions, as a table: filled by dlsym.
typedef struct ecd_dnn_calls {
    int (*create)(ecd_dnn_handle **);
    int (*destroy)(ecd_dnn_handle *);
    int (*set_stream)(ecd_dnn_handle *, void *stream);
    size_t (*version)(void);
    const char *(*error_string)(int);
    int (*tensor_create)(ecd_dnn_tensor **);
    int (*tensor_destroy)(ecd_dnn_tensor *);
    int (*tensor_set)(ecd_dnn_tensor *, int format, int type, int n, int c, int h, int w);
    int (*filter_create)(ecd_dnn_filter **);
    int (*filter_destroy)(ecd_dnn_filter *);
    int (*filter_set)(ecd_dnn_filter *, int type, int format, int k, int c, int h, int w);
    int (*conv_create)(ecd_dnn_conv **);
    int (*conv_destroy)(ecd_dnn_conv *);
    int (*conv_set)(ecd_dnn_conv *, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                    int mode, int compute_type);
    int (*conv_set_math)(ecd_dnn_conv *, int math);
    int (*algorithms)(ecd_dnn_handle *, ecd_dnn_tensor *x, ecd_dnn_filter *, ecd_dnn_conv *, ecd_dnn_tensor *y,
                      int wanted, int *found, ecd_dnn_performance *);
    int (*workspace_size)(ecd_dnn_handle *, ecd_dnn_tensor *x, ecd_dnn_filter *, ecd_dnn_conv *, ecd_dnn_tensor *y,
                          int algorithm, size_t *);
    int (*forward)(ecd_dnn_handle *, const void *alpha, ecd_dnn_tensor *, const void *x, ecd_dnn_filter *,
                   const void *w, ecd_dnn_conv *, int algorithm, void *workspace, size_t workspace_bytes,
                   const void *beta, ecd_dnn_tensor *, void *y);
} ecd_dnn_calls;

#endif
