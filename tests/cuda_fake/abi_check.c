// Compared at compile time with the libraries' own headers, where the CUDA Toolkit is: every number and structure that
// kernels/cuda declares by itself.
#include <cublasLt.h>
#include <cudnn.h>
#include <stddef.h>

#include "kernels/cuda/cublaslt_abi.h"
#include "kernels/cuda/cudnn_abi.h"

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)

SAME(ECD_LT_SUCCESS, CUBLAS_STATUS_SUCCESS);
SAME(ECD_LT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(ECD_LT_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE);
SAME(ECD_LT_R_32F, CUDA_R_32F);
SAME(ECD_LT_R_16BF, CUDA_R_16BF);
SAME(ECD_LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(ECD_LT_OP_N, CUBLAS_OP_N);
SAME(ECD_LT_OP_T, CUBLAS_OP_T);
SAME(ECD_LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(ECD_LT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(ECD_LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(ECD_LT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(ECD_LT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_DEFAULT);
SAME(ECD_LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(ECD_LT_PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(ECD_LT_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(ECD_LT_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(ECD_LT_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(ECD_LT_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(ECD_LT_PREF_MIN_ALIGNMENT_D_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(ECD_LT_REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(sizeof(ecd_lt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(ecd_lt_heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(ecd_lt_heuristic, workspace_bytes), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(ecd_lt_heuristic, state), offsetof(cublasLtMatmulHeuristicResult_t, state));

SAME(ECD_DNN_SUCCESS, CUDNN_STATUS_SUCCESS);
SAME(ECD_DNN_BAD_PARAM, CUDNN_STATUS_BAD_PARAM);
SAME(ECD_DNN_NOT_SUPPORTED, CUDNN_STATUS_NOT_SUPPORTED);
SAME(ECD_DNN_NHWC, CUDNN_TENSOR_NHWC);
SAME(ECD_DNN_FLOAT, CUDNN_DATA_FLOAT);
SAME(ECD_DNN_BFLOAT16, CUDNN_DATA_BFLOAT16);
SAME(ECD_DNN_CROSS_CORRELATION, CUDNN_CROSS_CORRELATION);
SAME(ECD_DNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH);
SAME(ECD_DNN_FMA_MATH, CUDNN_FMA_MATH);
SAME(ECD_DNN_DETERMINISTIC, CUDNN_DETERMINISTIC);
SAME(ECD_DNN_ALGORITHMS, CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
SAME(sizeof(ecd_dnn_performance), sizeof(cudnnConvolutionFwdAlgoPerf_t));
SAME(offsetof(ecd_dnn_performance, status), offsetof(cudnnConvolutionFwdAlgoPerf_t, status));
SAME(offsetof(ecd_dnn_performance, workspace_bytes), offsetof(cudnnConvolutionFwdAlgoPerf_t, memory));
SAME(offsetof(ecd_dnn_performance, determinism), offsetof(cudnnConvolutionFwdAlgoPerf_t, determinism));
SAME(offsetof(ecd_dnn_performance, math), offsetof(cudnnConvolutionFwdAlgoPerf_t, mathType));

int main(void)
{
    return 0;
}
