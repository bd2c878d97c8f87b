// The part of cuBLASLt's binary interface that ecdit uses, by the names of its manual (CUDA Toolkit documentation, cuBLASLt
// API). Declared here so that host code builds and is tested without the toolkit; where the toolkit is there,
// tests/cuda_fake/abi_check.c compares every number with its header. It is the same in cuBLASLt 12 and 13.
#ifndef ECD_KERNELS_CUDA_CUBLASLT_ABI_H
#define ECD_KERNELS_CUDA_CUBLASLT_ABI_H

#include <stddef.h>
#include <stdint.h>

enum {
    ECD_LT_SUCCESS = 0,         // cublasStatus_t
    ECD_LT_NOT_SUPPORTED = 15,
    ECD_LT_INVALID_VALUE = 7,
    ECD_LT_R_32F = 0,           // cudaDataType
    ECD_LT_R_16BF = 14,
    ECD_LT_R_8F_E4M3 = 28,
    ECD_LT_COMPUTE_32F = 68,    // cublasComputeType_t: f32, no TF32
    ECD_LT_OP_N = 0,            // cublasOperation_t
    ECD_LT_OP_T = 1,
    ECD_LT_DESC_TRANSA = 3,     // cublasLtMatmulDescAttributes_t
    ECD_LT_DESC_TRANSB = 4,
    ECD_LT_DESC_EPILOGUE = 7,
    ECD_LT_DESC_BIAS_POINTER = 8,
    ECD_LT_DESC_B_SCALE_POINTER = 18,
    ECD_LT_EPILOGUE_DEFAULT = 1, // cublasLtEpilogue_t
    ECD_LT_EPILOGUE_BIAS = 4,
    ECD_LT_PREF_MAX_WORKSPACE_BYTES = 1, // cublasLtMatmulPreferenceAttributes_t
    ECD_LT_PREF_REDUCTION_SCHEME_MASK = 3,
    ECD_LT_PREF_MIN_ALIGNMENT_A_BYTES = 5,
    ECD_LT_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    ECD_LT_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    ECD_LT_PREF_MIN_ALIGNMENT_D_BYTES = 8,
    ECD_LT_REDUCTION_NONE = 0,         // cublasLtReductionScheme_t
    ECD_LT_REDUCTION_COMPUTE_TYPE = 2, // partial sums are added in f32
    ECD_LT_CONFIG_REDUCTION_SCHEME = 3, // cublasLtMatmulAlgoConfigAttributes_t
};

typedef struct ecd_lt_handle ecd_lt_handle;
typedef struct ecd_lt_desc ecd_lt_desc;
typedef struct ecd_lt_layout ecd_lt_layout;
typedef struct ecd_lt_preference ecd_lt_preference;

typedef struct ecd_lt_algorithm { // cublasLtMatmulAlgo_t
    uint64_t data[8];
} ecd_lt_algorithm;

typedef struct ecd_lt_heuristic { // cublasLtMatmulHeuristicResult_t
    ecd_lt_algorithm algorithm;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} ecd_lt_heuristic;

// The functions, as a table: filled by dlsym, in this order.
typedef struct ecd_lt_calls {
    int (*create)(ecd_lt_handle **);
    int (*destroy)(ecd_lt_handle *);
    size_t (*version)(void);
    const char *(*status_string)(int);
    int (*desc_create)(ecd_lt_desc **, int compute, int scale_type);
    int (*desc_destroy)(ecd_lt_desc *);
    int (*desc_set)(ecd_lt_desc *, int attribute, const void *, size_t);
    int (*layout_create)(ecd_lt_layout **, int type, uint64_t rows, uint64_t cols, int64_t ld);
    int (*layout_destroy)(ecd_lt_layout *);
    int (*preference_create)(ecd_lt_preference **);
    int (*preference_destroy)(ecd_lt_preference *);
    int (*preference_set)(ecd_lt_preference *, int attribute, const void *, size_t);
    int (*heuristic)(ecd_lt_handle *, ecd_lt_desc *, ecd_lt_layout *a, ecd_lt_layout *b, ecd_lt_layout *c,
                     ecd_lt_layout *d, ecd_lt_preference *, int wanted, ecd_lt_heuristic *, int *found);
    int (*algorithm_check)(ecd_lt_handle *, ecd_lt_desc *, ecd_lt_layout *a, ecd_lt_layout *b, ecd_lt_layout *c,
                           ecd_lt_layout *d, const ecd_lt_algorithm *, ecd_lt_heuristic *);
    int (*algorithm_get)(const ecd_lt_algorithm *, int attribute, void *, size_t, size_t *written);
    int (*matmul)(ecd_lt_handle *, ecd_lt_desc *, const void *alpha, const void *a, ecd_lt_layout *, const void *b,
                  ecd_lt_layout *, const void *beta, const void *c, ecd_lt_layout *, void *d, ecd_lt_layout *,
                  const ecd_lt_algorithm *, void *workspace, size_t workspace_bytes, void *stream);
} ecd_lt_calls;

#endif
