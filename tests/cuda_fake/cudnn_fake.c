// cuDNN's functions as the backend calls them (manual: "cudnnConvolutionForward", its tables for NHWC).
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernels/cuda/cudnn_abi.h"
#include "tests/cuda_fake/fake.h"

struct ecd_dnn_handle {
    void *stream;
};
struct ecd_dnn_tensor {
    int format, type, n, c, h, w;
};
struct ecd_dnn_filter {
    int type, format, k, c, h, w;
};
struct ecd_dnn_conv {
    int pad[2], stride[2], dilation[2], mode, type, math;
};

ECD_FAKE_API int cudnnCreate(ecd_dnn_handle **out);
ECD_FAKE_API int cudnnDestroy(ecd_dnn_handle *h);
ECD_FAKE_API int cudnnSetStream(ecd_dnn_handle *h, void *stream);
ECD_FAKE_API size_t cudnnGetVersion(void);
ECD_FAKE_API const char *cudnnGetErrorString(int status);
ECD_FAKE_API int cudnnCreateTensorDescriptor(ecd_dnn_tensor **out);
ECD_FAKE_API int cudnnDestroyTensorDescriptor(ecd_dnn_tensor *t);
ECD_FAKE_API int cudnnSetTensor4dDescriptor(ecd_dnn_tensor *t, int format, int type, int n, int c, int h, int w);
ECD_FAKE_API int cudnnCreateFilterDescriptor(ecd_dnn_filter **out);
ECD_FAKE_API int cudnnDestroyFilterDescriptor(ecd_dnn_filter *f);
ECD_FAKE_API int cudnnSetFilter4dDescriptor(ecd_dnn_filter *f, int type, int format, int k, int c, int h, int w);
ECD_FAKE_API int cudnnCreateConvolutionDescriptor(ecd_dnn_conv **out);
ECD_FAKE_API int cudnnDestroyConvolutionDescriptor(ecd_dnn_conv *c);
ECD_FAKE_API int cudnnSetConvolution2dDescriptor(ecd_dnn_conv *c, int pad_h, int pad_w, int stride_h, int stride_w,
                                                 int dilation_h, int dilation_w, int mode, int type);
ECD_FAKE_API int cudnnSetConvolutionMathType(ecd_dnn_conv *c, int math);
ECD_FAKE_API int cudnnGetConvolutionForwardAlgorithm_v7(ecd_dnn_handle *h, ecd_dnn_tensor *x, ecd_dnn_filter *w,
                                                        ecd_dnn_conv *c, ecd_dnn_tensor *y, int wanted, int *found,
                                                        ecd_dnn_performance *out);
ECD_FAKE_API int cudnnGetConvolutionForwardWorkspaceSize(ecd_dnn_handle *h, ecd_dnn_tensor *x, ecd_dnn_filter *w,
                                                         ecd_dnn_conv *c, ecd_dnn_tensor *y, int algorithm,
                                                         size_t *bytes);
ECD_FAKE_API int cudnnConvolutionForward(ecd_dnn_handle *h, const void *alpha, ecd_dnn_tensor *xt, const void *x,
                                         ecd_dnn_filter *wt, const void *w, ecd_dnn_conv *c, int algorithm,
                                         void *workspace, size_t workspace_bytes, const void *beta, ecd_dnn_tensor *yt,
                                         void *y);

enum { OK = ECD_DNN_SUCCESS, BAD = ECD_DNN_BAD_PARAM, NO = ECD_DNN_NOT_SUPPORTED, ALLOC_FAILED = 1003, ALIGN = 16 };
enum { ALGORITHM = 1, FASTER = 0, WORKSPACE = 4096, SMALL = 16 }; // implicit precomputed GEMM, implicit GEMM; pixels
static const double run_ms[] = {[ALGORITHM] = 2, [FASTER] = 1};

static int make(void **out, size_t bytes)
{
    return ecd_fake_make(out, bytes, NO, ALLOC_FAILED);
}

static int done(bool good)
{
    return !good ? BAD : ecd_fake_call_fails() ? NO : OK;
}

int cudnnCreate(ecd_dnn_handle **out)
{
    return make((void **)out, sizeof **out);
}

int cudnnDestroy(ecd_dnn_handle *h)
{
    return ecd_fake_drop(h);
}

int cudnnSetStream(ecd_dnn_handle *h, void *stream)
{
    h->stream = stream;
    return done(ecd_fake_expect(stream, "cuDNN: the default stream"));
}

size_t cudnnGetVersion(void)
{
    return 91900;
}

const char *cudnnGetErrorString(int status)
{
    return status == BAD ? ecd_fake_error() ? ecd_fake_error() : "bad parameter" : status == NO ? "not supported" : "failed";
}

int cudnnCreateTensorDescriptor(ecd_dnn_tensor **out)
{
    return make((void **)out, sizeof **out);
}

int cudnnDestroyTensorDescriptor(ecd_dnn_tensor *t)
{
    return ecd_fake_drop(t);
}

static bool known_type(int type)
{
    return ecd_fake_expect(type == ECD_DNN_FLOAT || type == ECD_DNN_BFLOAT16, "cuDNN: type %d", type);
}

int cudnnSetTensor4dDescriptor(ecd_dnn_tensor *t, int format, int type, int n, int c, int h, int w)
{
    *t = (ecd_dnn_tensor){format, type, n, c, h, w};
    return done(known_type(type) &&
                ecd_fake_expect(format == ECD_DNN_NHWC && n == 1 && c > 0 && h > 0 && w > 0 && c % 8 == 0,
                                "cuDNN: a tensor of format %d, [%d, %d, %d, %d]", format, n, h, w, c));
}

int cudnnCreateFilterDescriptor(ecd_dnn_filter **out)
{
    return make((void **)out, sizeof **out);
}

int cudnnDestroyFilterDescriptor(ecd_dnn_filter *f)
{
    return ecd_fake_drop(f);
}

int cudnnSetFilter4dDescriptor(ecd_dnn_filter *f, int type, int format, int k, int c, int h, int w)
{
    *f = (ecd_dnn_filter){type, format, k, c, h, w};
    return done(known_type(type) && ecd_fake_expect(format == ECD_DNN_NHWC && k > 0 && c > 0 && h > 0 && w > 0,
                                                    "cuDNN: a filter of format %d, [%d, %d, %d, %d]", format, k, h, w, c));
}

int cudnnCreateConvolutionDescriptor(ecd_dnn_conv **out)
{
    return make((void **)out, sizeof **out);
}

int cudnnDestroyConvolutionDescriptor(ecd_dnn_conv *c)
{
    return ecd_fake_drop(c);
}

int cudnnSetConvolution2dDescriptor(ecd_dnn_conv *c, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h,
                                    int dilation_w, int mode, int type)
{
    *c = (ecd_dnn_conv){{pad_h, pad_w}, {stride_h, stride_w}, {dilation_h, dilation_w}, mode, type, 0};
    return done(ecd_fake_expect(pad_h >= 0 && pad_w >= 0 && stride_h > 0 && stride_w > 0 && dilation_h == 1 &&
                                    dilation_w == 1,
                                "cuDNN: padding, stride or dilation out of range") &&
                ecd_fake_expect(mode == ECD_DNN_CROSS_CORRELATION && type == ECD_DNN_FLOAT,
                                "cuDNN: mode %d, compute type %d", mode, type));
}

int cudnnSetConvolutionMathType(ecd_dnn_conv *c, int math)
{
    c->math = math;
    return done(ecd_fake_expect(math == ECD_DNN_FMA_MATH || math == ECD_DNN_TENSOR_OP_MATH, "cuDNN: math type %d", math));
}

static int out_side(const ecd_dnn_conv *c, int i, int in, int kernel)
{
    return (in + 2 * c->pad[i] - kernel) / c->stride[i] + 1;
}

static bool fits(const ecd_dnn_handle *h, const ecd_dnn_tensor *x, const ecd_dnn_filter *w, const ecd_dnn_conv *c,
                 const ecd_dnn_tensor *y)
{
    return ecd_fake_expect(h && h->stream, "cuDNN: no handle or no stream") &&
           ecd_fake_expect(x->type == w->type && x->type == y->type, "cuDNN: types %d, %d, %d", x->type, w->type, y->type) &&
           ecd_fake_expect(c->math == (x->type == ECD_DNN_FLOAT ? ECD_DNN_FMA_MATH : ECD_DNN_TENSOR_OP_MATH),
                           "cuDNN: math type %d for type %d", c->math, x->type) &&
           ecd_fake_expect(x->c == w->c && y->c == w->k, "cuDNN: channels %d to %d by a filter of %d to %d", x->c, y->c,
                           w->c, w->k) &&
           ecd_fake_expect(y->h == out_side(c, 0, x->h, w->h) && y->w == out_side(c, 1, x->w, w->w),
                           "cuDNN: %dx%d to %dx%d", x->w, x->h, y->w, y->h);
}

// As the library: the one that computes nothing in advance takes none, and none is needed for a few pixels.
static size_t workspace_of(int algorithm, const ecd_dnn_tensor *y)
{
    return algorithm == ALGORITHM && y->h * y->w >= SMALL ? WORKSPACE : 0;
}

int cudnnGetConvolutionForwardAlgorithm_v7(ecd_dnn_handle *h, ecd_dnn_tensor *x, ecd_dnn_filter *w, ecd_dnn_conv *c,
                                           ecd_dnn_tensor *y, int wanted, int *found, ecd_dnn_performance *out)
{
    *found = 0;
    if (ecd_fake_call_fails())
        return NO;
    ecd_fake_count.heuristics++;
    if (!fits(h, x, w, c, y) || !ecd_fake_expect(wanted >= 4, "cuDNN: room for %d algorithms", wanted))
        return BAD;
    // One that is not supported, one that is not deterministic, then two to take.
    out[0] = (ecd_dnn_performance){.algorithm = 6, .status = NO, .determinism = ECD_DNN_DETERMINISTIC};
    out[1] = (ecd_dnn_performance){.algorithm = 2, .status = OK, .determinism = 0};
    out[2] = (ecd_dnn_performance){.algorithm = ALGORITHM, .status = OK, .determinism = ECD_DNN_DETERMINISTIC};
    out[3] = (ecd_dnn_performance){.algorithm = FASTER, .status = OK, .determinism = ECD_DNN_DETERMINISTIC};
    for (int i = 2; i < 4; i++)
        out[i].workspace_bytes = workspace_of(out[i].algorithm, y);
    *found = 4;
    return OK;
}

int cudnnGetConvolutionForwardWorkspaceSize(ecd_dnn_handle *h, ecd_dnn_tensor *x, ecd_dnn_filter *w, ecd_dnn_conv *c,
                                            ecd_dnn_tensor *y, int algorithm, size_t *bytes)
{
    *bytes = workspace_of(algorithm, y);
    if (algorithm != ALGORITHM && algorithm != FASTER)
        return NO;
    return done(fits(h, x, w, c, y));
}

static float value(const void *at, int type, size_t i)
{
    return type == ECD_DNN_BFLOAT16 ? ecd_fake_bf16(((const uint16_t *)at)[i]) : ((const float *)at)[i];
}

// sums[k] of one output pixel, over the filter's rows, columns and channels in order. w: floats [row][column][channel][k].
static void convolve(const ecd_dnn_tensor *xt, const void *x, const ecd_dnn_filter *wt, const float *w,
                     const ecd_dnn_conv *c, int row, int col, float *sums)
{
    memset(sums, 0, (size_t)wt->k * sizeof *sums);
    for (int tap = 0; tap < wt->h * wt->w; tap++) {
        int h = row * c->stride[0] - c->pad[0] + tap / wt->w, at = col * c->stride[1] - c->pad[1] + tap % wt->w;
        if (h < 0 || at < 0 || h >= xt->h || at >= xt->w)
            continue;
        size_t from = ((size_t)h * (size_t)xt->w + (size_t)at) * (size_t)xt->c;
        for (size_t i = 0; i < (size_t)xt->c; i++) {
            const float v = value(x, xt->type, from + i), *weights = w + ((size_t)tap * (size_t)xt->c + i) * (size_t)wt->k;
            for (size_t k = 0; k < (size_t)wt->k; k++)
                sums[k] += v * weights[k];
        }
    }
}

static bool compute(const ecd_dnn_tensor *xt, const void *x, const ecd_dnn_filter *wt, const void *w,
                    const ecd_dnn_conv *c, const ecd_dnn_tensor *yt, void *y)
{
    size_t per = (size_t)(wt->h * wt->w) * (size_t)wt->c, filters = (size_t)wt->k;
    float *turned = malloc(per * filters * sizeof *turned), *sums = malloc(filters * sizeof *sums);
    for (size_t k = 0; turned && k < filters; k++)
        for (size_t i = 0; i < per; i++)
            turned[i * filters + k] = value(w, wt->type, k * per + i);
    for (int p = 0; turned && sums && p < yt->h * yt->w; p++) {
        convolve(xt, x, wt, turned, c, p / yt->w, p % yt->w, sums);
        for (size_t k = 0; k < filters; k++)
            if (yt->type == ECD_DNN_BFLOAT16)
                ((uint16_t *)y)[(size_t)p * filters + k] = ecd_to_bf16(sums[k]);
            else
                ((float *)y)[(size_t)p * filters + k] = sums[k];
    }
    bool done = turned && sums;
    free(turned);
    free(sums);
    return done;
}

static size_t bytes_of(int type, int a, int b, int c, int d)
{
    return (size_t)a * (size_t)b * (size_t)c * (size_t)d * (type == ECD_DNN_FLOAT ? 4 : 2);
}

static bool there(const char *what, const void *at, size_t bytes)
{
    return ecd_fake_expect((uintptr_t)at % ALIGN == 0 && ecd_fake_device_holds(at, bytes),
                           "cuDNN: %s of %zu bytes at %p is not in device memory or not aligned to 16", what, bytes, at);
}

int cudnnConvolutionForward(ecd_dnn_handle *h, const void *alpha, ecd_dnn_tensor *xt, const void *x, ecd_dnn_filter *wt,
                            const void *w, ecd_dnn_conv *c, int algorithm, void *workspace, size_t workspace_bytes,
                            const void *beta, ecd_dnn_tensor *yt, void *y)
{
    if (ecd_fake_call_fails())
        return NO;
    ecd_fake_count.convolutions++;
    const float *one = alpha, *zero = beta;
    if (!fits(h, xt, wt, c, yt) || !there("the input", x, bytes_of(xt->type, xt->n, xt->h, xt->w, xt->c)) ||
        !there("the filter", w, bytes_of(wt->type, wt->k, wt->h, wt->w, wt->c)) ||
        !there("the output", y, bytes_of(yt->type, yt->n, yt->h, yt->w, yt->c)) ||
        !ecd_fake_expect((algorithm == ALGORITHM || algorithm == FASTER) && workspace_bytes >= workspace_of(algorithm, yt),
                         "cuDNN: algorithm %d, workspace %zu", algorithm, workspace_bytes) ||
        (workspace_bytes && !there("the workspace", workspace, workspace_bytes)) ||
        !ecd_fake_expect(*one == 1 && *zero == 0, "cuDNN: alpha and beta"))
        return BAD;
    ecd_fake_take(run_ms[algorithm]);
    return !ecd_fake_computes() || compute(xt, x, wt, w, c, yt, y) ? OK : ALLOC_FAILED;
}
