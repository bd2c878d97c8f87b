#include "kernels/cuda/cudnn.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "kernels/cuda/cudnn_abi.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/timing.h"

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
    ecd_cuda_stream *stream;
    ecd_choices *choices;
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

ecd_status ecd_cudnn_open(const char *file, ecd_cuda_stream *stream, ecd_choices *choices, ecd_cudnn **out,
                          ecd_diag *diag)
{
    *out = NULL;
    ecd_cudnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn)
        return ecd_fail_memory(diag, sizeof *dnn, "cuDNN's state");
    dnn->stream = stream;
    dnn->choices = choices;
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

static int out_side(const ecd_cudnn_shape *s, int in)
{
    return (in + 2 * s->pad - s->kernel) / s->stride + 1;
}

static int describe(const ecd_cudnn *dnn, plan *p)
{
    const ecd_dnn_calls *c = &dnn->call;
    const ecd_cudnn_shape *s = &p->shape;
    int type = s->narrow ? ECD_DNN_BFLOAT16 : ECD_DNN_FLOAT;
    int error;
    if ((error = c->tensor_create(&p->x)) || (error = c->tensor_create(&p->y)) || (error = c->filter_create(&p->w)) ||
        (error = c->conv_create(&p->conv)) ||
        (error = c->tensor_set(p->x, ECD_DNN_NHWC, type, 1, s->in_channels, s->height, s->width)) ||
        (error = c->tensor_set(p->y, ECD_DNN_NHWC, type, 1, s->out_channels, out_side(s, s->height),
                               out_side(s, s->width))) ||
        (error = c->filter_set(p->w, type, ECD_DNN_NHWC, s->out_channels, s->in_channels, s->kernel, s->kernel)) ||
        (error = c->conv_set(p->conv, s->pad, s->pad, s->stride, s->stride, 1, 1, ECD_DNN_CROSS_CORRELATION,
                             ECD_DNN_FLOAT)))
        return error;
    return c->conv_set_math(p->conv, s->narrow ? ECD_DNN_TENSOR_OP_MATH : ECD_DNN_FMA_MATH);
}

// A convolution whose algorithm is looked for.
typedef struct search {
    const ecd_cudnn *dnn;
    const plan *to;
    const char *x, *w;
    char *y, *workspace; // while it is timed
    ecd_dnn_performance found[ECD_DNN_ALGORITHMS];
} search;

static int run(const ecd_cudnn *dnn, const plan *p, int algorithm, const void *x, const void *w, void *y,
               void *workspace, size_t workspace_bytes)
{
    const float one = 1, zero = 0;
    return dnn->call.forward(dnn->handle, &one, p->x, x, p->w, w, p->conv, algorithm, workspace, workspace_bytes, &zero,
                             p->y, y);
}

static int run_candidate(void *user, int i)
{
    const search *s = user;
    return run(s->dnn, s->to, s->found[i].algorithm, s->x, s->w, s->y, s->workspace, s->found[i].workspace_bytes);
}

static size_t rounded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

// The fastest on memory of its own, whatever that holds; or -1.
static int time_candidates(search *s, int count)
{
    const ecd_cudnn_shape *shape = &s->to->shape;
    size_t element = shape->narrow ? 2 : 4, taps = (size_t)(shape->kernel * shape->kernel), workspace = 0;
    size_t in = (size_t)shape->in_channels * element, out = (size_t)shape->out_channels * element;
    size_t x = rounded((size_t)shape->height * (size_t)shape->width * in);
    size_t y = rounded((size_t)out_side(shape, shape->height) * (size_t)out_side(shape, shape->width) * out);
    size_t w = rounded((size_t)shape->out_channels * taps * in);
    for (int i = 0; i < count; i++)
        workspace = s->found[i].workspace_bytes > workspace ? s->found[i].workspace_bytes : workspace;
    char *memory = ecd_cuda_borrow(s->dnn->stream, x + w + y + workspace);
    if (!memory)
        return -1;
    s->x = memory;
    s->w = memory + x;
    s->y = memory + x + w;
    s->workspace = memory + x + w + y;
    int fastest = ecd_cuda_fastest(s->dnn->stream, count, run_candidate, s);
    ecd_cuda_give_back(s->dnn->stream, memory);
    return fastest;
}

// Whether it sums the products themselves: Winograd's and Fourier's transforms round more, and are taken only where a shape
// has nothing else.
static bool is_exact(const ecd_dnn_performance *found)
{
    return found->algorithm == ECD_DNN_IMPLICIT_GEMM || found->algorithm == ECD_DNN_IMPLICIT_PRECOMP_GEMM;
}

static bool is_fit(const ecd_dnn_performance *found)
{
    return !found->status && found->determinism == ECD_DNN_DETERMINISTIC && found->workspace_bytes <= WORKSPACE_MAX;
}

static int choose(void *user, bool timed, ecd_choice *out)
{
    search *s = user;
    const plan *p = s->to;
    int count = 0, fit = 0;
    int error = s->dnn->call.algorithms(s->dnn->handle, p->x, p->w, p->conv, p->y, ECD_DNN_ALGORITHMS, &count, s->found);
    bool exact = false;
    for (int i = 0; !error && i < count; i++)
        exact |= is_fit(&s->found[i]) && is_exact(&s->found[i]);
    for (int i = 0; !error && i < count; i++)
        if (is_fit(&s->found[i]) && (!exact || is_exact(&s->found[i])))
            s->found[fit++] = s->found[i];
    if (error || !fit)
        return error ? error : ECD_DNN_NOT_SUPPORTED;
    int fastest = timed ? time_candidates(s, fit) : -1;
    *out = (ecd_choice){.data = {(uint64_t)s->found[fastest >= 0 ? fastest : 0].algorithm}, .timed = fastest >= 0};
    return 0;
}

static int workspace_of(const ecd_cudnn *dnn, const plan *p, int algorithm, size_t *bytes)
{
    return dnn->call.workspace_size(dnn->handle, p->x, p->w, p->conv, p->y, algorithm, bytes);
}

// The forward algorithms that the library runs at all are deterministic; one that it does not run has no workspace.
static bool usable(void *user, const ecd_choice *choice)
{
    const search *s = user;
    size_t bytes = 0;
    uint64_t others = 0;
    for (int i = 1; i < ECD_CHOICE_DATA; i++)
        others |= choice->data[i];
    return !others && choice->data[0] < ECD_DNN_ALGORITHMS &&
           !workspace_of(s->dnn, s->to, (int)choice->data[0], &bytes) && bytes <= WORKSPACE_MAX;
}

static int settle(const ecd_cudnn *dnn, plan *p)
{
    const ecd_cudnn_shape *shape = &p->shape;
    const ecd_choice_key key = {.library = "cudnn",
                                .version = ecd_cudnn_version(dnn),
                                .shape = {shape->narrow, shape->height, shape->width, shape->in_channels,
                                          shape->out_channels, shape->kernel, shape->stride, shape->pad}};
    search s = {.dnn = dnn, .to = p};
    const ecd_choosing how = {usable, choose, &s};
    ecd_choice choice;
    int error = ecd_choices_settle(dnn->choices, &key, &how, &choice);
    if (error)
        return error;
    p->algorithm = (int)choice.data[0];
    return workspace_of(dnn, p, p->algorithm, &p->workspace_bytes);
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
        error = settle(dnn, &made);
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
    int error = run(dnn, p, p->algorithm, x, w, y, workspace, p->workspace_bytes);
    if (error)
        fail(be, dnn, shape, error);
}
