#include "kernels/cuda/cudnn.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "kernels/cuda/cudnn_abi.h"
#include "kernels/cuda/library.h"

enum { WORKSPACE_MAX = 256 << 20 }; // an algorithm that wants more is passed over

typedef struct plan {
    ecd_cudnn_shape shape;
    ecd_dnn_tensor *x, *y;
    ecd_dnn_filter *w;
    ecd_dnn_conv *conv;
    int algorithm;
    size_t workspace_bytes;
} plan;

struct ecd_cudnn {
    void *library;
    ecd_dnn_calls call;
    ecd_dnn_handle *handle;
    plan *plans;
    size_t count, capacity;
};

#define SYMBOL(field, name) {name, (void (**)(void))&dnn->call.field}

static ecd_status load(ecd_cudnn *dnn, const char *file, ecd_diag *diag)
{
    static const char *const usual[] = {"libcudnn.so.9", "libcudnn.so.8", "libcudnn.so", NULL};
    const ecd_symbol symbols[] = {
        SYMBOL(create, "cudnnCreate"),
        SYMBOL(destroy, "cudnnDestroy"),
        SYMBOL(set_stream, "cudnnSetStream"),
        SYMBOL(version, "cudnnGetVersion"),
        SYMBOL(error_string, "cudnnGetErrorString"),
        SYMBOL(tensor_create, "cudnnCreateTensorDescriptor"),
        SYMBOL(tensor_destroy, "cudnnDestroyTensorDescriptor"),
        SYMBOL(tensor_set, "cudnnSetTensor4dDescriptor"),
        SYMBOL(filter_create, "cudnnCreateFilterDescriptor"),
        SYMBOL(filter_destroy, "cudnnDestroyFilterDescriptor"),
        SYMBOL(filter_set, "cudnnSetFilter4dDescriptor"),
        SYMBOL(conv_create, "cudnnCreateConvolutionDescriptor"),
        SYMBOL(conv_destroy, "cudnnDestroyConvolutionDescriptor"),
        SYMBOL(conv_set, "cudnnSetConvolution2dDescriptor"),
        SYMBOL(conv_set_math, "cudnnSetConvolutionMathType"),
        SYMBOL(algorithms, "cudnnGetConvolutionForwardAlgorithm_v7"),
        SYMBOL(workspace_size, "cudnnGetConvolutionForwardWorkspaceSize"),
        SYMBOL(forward, "cudnnConvolutionForward"),
    };
    return ecd_library_open(file, usual, symbols, (int)(sizeof symbols / sizeof *symbols), &dnn->library, diag);
}

ecd_status ecd_cudnn_open(const char *file, ecd_cuda_stream *stream, ecd_cudnn **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_cudnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn)
        return ecd_fail_memory(diag, sizeof *dnn, "cuDNN's state");
    ecd_status status = load(dnn, file, diag);
    if (!status) {
        int error = dnn->call.create(&dnn->handle);
        if (!error)
            error = dnn->call.set_stream(dnn->handle, stream);
        if (error)
            status = ecd_fail(diag, ECD_RESOURCE, "backend cuda: cuDNN does not start: %s",
                              dnn->call.error_string(error));
    }
    if (status)
        ecd_cudnn_close(dnn);
    else
        *out = dnn;
    return status;
}

static void forget(ecd_cudnn *dnn, plan *p)
{
    if (p->x)
        dnn->call.tensor_destroy(p->x);
    if (p->y)
        dnn->call.tensor_destroy(p->y);
    if (p->w)
        dnn->call.filter_destroy(p->w);
    if (p->conv)
        dnn->call.conv_destroy(p->conv);
}

void ecd_cudnn_close(ecd_cudnn *dnn)
{
    if (!dnn)
        return;
    for (size_t i = 0; i < dnn->count; i++)
        forget(dnn, &dnn->plans[i]);
    if (dnn->handle)
        dnn->call.destroy(dnn->handle);
    ecd_library_close(dnn->library);
    free(dnn->plans);
    free(dnn);
}

size_t ecd_cudnn_version(const ecd_cudnn *dnn)
{
    return dnn->call.version();
}

static int describe(const ecd_cudnn *dnn, plan *p)
{
    const ecd_dnn_calls *c = &dnn->call;
    const ecd_cudnn_shape *s = &p->shape;
    int type = s->narrow ? ECD_DNN_BFLOAT16 : ECD_DNN_FLOAT;
    int height = (s->height + 2 * s->pad - s->kernel) / s->stride + 1;
    int width = (s->width + 2 * s->pad - s->kernel) / s->stride + 1;
    int error;
    if ((error = c->tensor_create(&p->x)) || (error = c->tensor_create(&p->y)) || (error = c->filter_create(&p->w)) ||
        (error = c->conv_create(&p->conv)) ||
        (error = c->tensor_set(p->x, ECD_DNN_NHWC, type, 1, s->in_channels, s->height, s->width)) ||
        (error = c->tensor_set(p->y, ECD_DNN_NHWC, type, 1, s->out_channels, height, width)) ||
        (error = c->filter_set(p->w, type, ECD_DNN_NHWC, s->out_channels, s->in_channels, s->kernel, s->kernel)) ||
        (error = c->conv_set(p->conv, s->pad, s->pad, s->stride, s->stride, 1, 1, ECD_DNN_CROSS_CORRELATION,
                             ECD_DNN_FLOAT)))
        return error;
    return c->conv_set_math(p->conv, s->narrow ? ECD_DNN_TENSOR_OP_MATH : ECD_DNN_FMA_MATH);
}

static int choose(const ecd_cudnn *dnn, plan *p)
{
    ecd_dnn_performance found[ECD_DNN_ALGORITHMS];
    int count = 0;
    int error =
        dnn->call.algorithms(dnn->handle, p->x, p->w, p->conv, p->y, ECD_DNN_ALGORITHMS, &count, found);
    for (int i = 0; !error && i < count; i++) {
        if (found[i].status || found[i].determinism != ECD_DNN_DETERMINISTIC ||
            found[i].workspace_bytes > WORKSPACE_MAX)
            continue;
        p->algorithm = found[i].algorithm;
        return dnn->call.workspace_size(dnn->handle, p->x, p->w, p->conv, p->y, p->algorithm, &p->workspace_bytes);
    }
    return error ? error : ECD_DNN_NOT_SUPPORTED;
}

static void fail(ecd_backend *be, const ecd_cudnn *dnn, const ecd_cudnn_shape *s, int error)
{
    ecd_backend_fail(be, ECD_RESOURCE, "cuDNN: a convolution of %dx%d, %d to %d channels, kernel %d: %s", s->width,
                     s->height, s->in_channels, s->out_channels, s->kernel, dnn->call.error_string(error));
}

static const plan *plan_of(ecd_backend *be, ecd_cudnn *dnn, const ecd_cudnn_shape *shape)
{
    for (size_t i = 0; i < dnn->count; i++)
        if (!memcmp(&dnn->plans[i].shape, shape, sizeof *shape))
            return &dnn->plans[i];
    plan *plans = ecd_grow(dnn->plans, dnn->count + 1, &dnn->capacity, sizeof *plans);
    if (!plans) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: the list of convolutions");
        return NULL;
    }
    dnn->plans = plans;
    plan made = {.shape = *shape};
    int error = describe(dnn, &made);
    if (!error)
        error = choose(dnn, &made);
    if (error) {
        forget(dnn, &made);
        fail(be, dnn, shape, error);
        return NULL;
    }
    plans[dnn->count] = made;
    return &plans[dnn->count++];
}

bool ecd_cudnn_workspace(ecd_backend *be, ecd_cudnn *dnn, const ecd_cudnn_shape *shape, size_t *bytes)
{
    const plan *p = plan_of(be, dnn, shape);
    *bytes = p ? p->workspace_bytes : 0;
    return p;
}

void ecd_cudnn_convolve(ecd_backend *be, ecd_cudnn *dnn, const ecd_cudnn_shape *shape, const void *x, const void *w,
                        void *y, void *workspace)
{
    const plan *p = plan_of(be, dnn, shape);
    if (!p)
        return;
    const float one = 1, zero = 0;
    int error = dnn->call.forward(dnn->handle, &one, p->x, x, p->w, w, p->conv, p->algorithm, workspace,
                                  p->workspace_bytes, &zero, p->y, y);
    if (error)
        fail(be, dnn, shape, error);
}
