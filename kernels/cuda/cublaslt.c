#include "kernels/cuda/cublaslt.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "kernels/cuda/cublaslt_abi.h"
#include "kernels/cuda/library.h"

// All that the choice of an algorithm depends on.
typedef struct shape {
    int64_t rows, cols, channels, x_stride, w_stride, out_stride;
    int64_t flags; // narrow, out_narrow, add, bias
} shape;

// A shape's descriptors and algorithm. The library is column-major: it sees out^T = w x^T, with w as its A, transposed.
typedef struct plan {
    shape shape;
    ecd_lt_desc *desc;
    ecd_lt_layout *a, *b, *d;
    ecd_lt_algorithm algorithm;
} plan;

struct ecd_cublaslt {
    void *library;
    ecd_lt_calls call;
    ecd_lt_handle *handle;
    plan *plans;
    size_t count, capacity;
};

#define SYMBOL(field, name) {name, (void (**)(void))&lt->call.field}

static ecd_status load(ecd_cublaslt *lt, const char *file, ecd_diag *diag)
{
    static const char *const usual[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so", NULL};
    const ecd_symbol symbols[] = {
        SYMBOL(create, "cublasLtCreate"),
        SYMBOL(destroy, "cublasLtDestroy"),
        SYMBOL(version, "cublasLtGetVersion"),
        SYMBOL(status_string, "cublasLtGetStatusString"),
        SYMBOL(desc_create, "cublasLtMatmulDescCreate"),
        SYMBOL(desc_destroy, "cublasLtMatmulDescDestroy"),
        SYMBOL(desc_set, "cublasLtMatmulDescSetAttribute"),
        SYMBOL(layout_create, "cublasLtMatrixLayoutCreate"),
        SYMBOL(layout_destroy, "cublasLtMatrixLayoutDestroy"),
        SYMBOL(preference_create, "cublasLtMatmulPreferenceCreate"),
        SYMBOL(preference_destroy, "cublasLtMatmulPreferenceDestroy"),
        SYMBOL(preference_set, "cublasLtMatmulPreferenceSetAttribute"),
        SYMBOL(heuristic, "cublasLtMatmulAlgoGetHeuristic"),
        SYMBOL(matmul, "cublasLtMatmul"),
    };
    return ecd_library_open(file, usual, symbols, (int)(sizeof symbols / sizeof *symbols), &lt->library, diag);
}

ecd_status ecd_cublaslt_open(const char *file, ecd_cublaslt **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_cublaslt *lt = calloc(1, sizeof *lt);
    if (!lt)
        return ecd_fail_memory(diag, sizeof *lt, "cuBLASLt's state");
    ecd_status status = load(lt, file, diag);
    if (!status) {
        int error = lt->call.create(&lt->handle);
        if (error)
            status = ecd_fail(diag, ECD_RESOURCE, "backend cuda: cuBLASLt does not start: %s",
                              lt->call.status_string(error));
    }
    if (status)
        ecd_cublaslt_close(lt);
    else
        *out = lt;
    return status;
}

static void forget(ecd_cublaslt *lt, plan *p)
{
    if (p->desc)
        lt->call.desc_destroy(p->desc);
    ecd_lt_layout *layouts[] = {p->a, p->b, p->d};
    for (int i = 0; i < 3; i++)
        if (layouts[i])
            lt->call.layout_destroy(layouts[i]);
}

void ecd_cublaslt_close(ecd_cublaslt *lt)
{
    if (!lt)
        return;
    for (size_t i = 0; i < lt->count; i++)
        forget(lt, &lt->plans[i]);
    if (lt->handle)
        lt->call.destroy(lt->handle);
    ecd_library_close(lt->library);
    free(lt->plans);
    free(lt);
}

size_t ecd_cublaslt_version(const ecd_cublaslt *lt)
{
    return lt->call.version();
}

static shape shape_of(const ecd_cublaslt_product *p)
{
    return (shape){p->rows,     p->cols,       p->channels,
                   p->x_stride, p->w_stride,   p->out_stride,
                   p->narrow | p->out_narrow << 1 | p->add << 2 | (p->bias != NULL) << 3};
}

static int describe(const ecd_cublaslt *lt, const ecd_cublaslt_product *p, plan *to)
{
    const ecd_lt_calls *c = &lt->call;
    int type = p->narrow ? ECD_LT_R_16BF : ECD_LT_R_32F, out_type = p->out_narrow ? ECD_LT_R_16BF : ECD_LT_R_32F;
    int transposed = ECD_LT_OP_T, plain = ECD_LT_OP_N, epilogue = p->bias ? ECD_LT_EPILOGUE_BIAS : ECD_LT_EPILOGUE_DEFAULT;
    uint64_t rows = (uint64_t)p->rows, cols = (uint64_t)p->cols, channels = (uint64_t)p->channels;
    int error;
    if ((error = c->desc_create(&to->desc, ECD_LT_COMPUTE_32F, ECD_LT_R_32F)) ||
        (error = c->desc_set(to->desc, ECD_LT_DESC_TRANSA, &transposed, sizeof transposed)) ||
        (error = c->desc_set(to->desc, ECD_LT_DESC_TRANSB, &plain, sizeof plain)) ||
        (error = c->desc_set(to->desc, ECD_LT_DESC_EPILOGUE, &epilogue, sizeof epilogue)) ||
        (error = c->layout_create(&to->a, type, cols, channels, p->w_stride)) ||
        (error = c->layout_create(&to->b, type, cols, rows, p->x_stride)) ||
        (error = c->layout_create(&to->d, out_type, channels, rows, p->out_stride)))
        return error;
    // The heuristic looks at whether there is a bias pointer.
    return p->bias ? c->desc_set(to->desc, ECD_LT_DESC_BIAS_POINTER, &p->bias, sizeof p->bias) : ECD_LT_SUCCESS;
}

static int choose(const ecd_cublaslt *lt, plan *to)
{
    const ecd_lt_calls *c = &lt->call;
    static const int alignments[] = {ECD_LT_PREF_MIN_ALIGNMENT_A_BYTES, ECD_LT_PREF_MIN_ALIGNMENT_B_BYTES,
                                     ECD_LT_PREF_MIN_ALIGNMENT_C_BYTES, ECD_LT_PREF_MIN_ALIGNMENT_D_BYTES};
    uint64_t workspace = ECD_CUBLASLT_WORKSPACE;
    uint32_t scheme = ECD_LT_REDUCTION_COMPUTE_TYPE, align = ECD_CUBLASLT_ALIGN;
    ecd_lt_preference *preference = NULL;
    ecd_lt_heuristic found = {.state = ECD_LT_NOT_SUPPORTED};
    int count = 0, error = c->preference_create(&preference);
    if (!error)
        error = c->preference_set(preference, ECD_LT_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    if (!error)
        error = c->preference_set(preference, ECD_LT_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme);
    for (int i = 0; !error && i < 4; i++)
        error = c->preference_set(preference, alignments[i], &align, sizeof align);
    if (!error)
        error = c->heuristic(lt->handle, to->desc, to->a, to->b, to->d, to->d, preference, 1, &found, &count);
    if (!error)
        error = count ? found.state : ECD_LT_NOT_SUPPORTED;
    to->algorithm = found.algorithm;
    if (preference)
        c->preference_destroy(preference);
    return error;
}

static void fail(ecd_backend *be, const ecd_cublaslt *lt, const ecd_cublaslt_product *p, int error)
{
    ecd_backend_fail(be, ECD_RESOURCE, "cuBLASLt: a product of [%lld, %lld] by [%lld, %lld]: %s", (long long)p->rows,
                     (long long)p->cols, (long long)p->channels, (long long)p->cols, lt->call.status_string(error));
}

static const plan *plan_of(ecd_backend *be, ecd_cublaslt *lt, const ecd_cublaslt_product *p)
{
    const shape wanted = shape_of(p);
    for (size_t i = 0; i < lt->count; i++)
        if (!memcmp(&lt->plans[i].shape, &wanted, sizeof wanted))
            return &lt->plans[i];
    plan *plans = ecd_grow(lt->plans, lt->count + 1, &lt->capacity, sizeof *plans);
    if (!plans) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: the list of products");
        return NULL;
    }
    lt->plans = plans;
    plan made = {.shape = wanted};
    int error = describe(lt, p, &made);
    if (!error)
        error = choose(lt, &made);
    if (error) {
        forget(lt, &made);
        fail(be, lt, p, error);
        return NULL;
    }
    plans[lt->count] = made;
    return &plans[lt->count++];
}

void ecd_cublaslt_multiply(ecd_backend *be, ecd_cublaslt *lt, const ecd_cublaslt_product *p, void *workspace,
                           ecd_cuda_stream *stream)
{
    const plan *chosen = plan_of(be, lt, p);
    if (!chosen)
        return;
    const float one = 1, zero = 0;
    int error = p->bias ? lt->call.desc_set(chosen->desc, ECD_LT_DESC_BIAS_POINTER, &p->bias, sizeof p->bias) : 0;
    if (!error)
        error = lt->call.matmul(lt->handle, chosen->desc, &one, p->w, chosen->a, p->x, chosen->b, p->add ? &one : &zero,
                                p->out, chosen->d, p->out, chosen->d, &chosen->algorithm, workspace, ECD_CUBLASLT_WORKSPACE,
                                stream);
    if (error)
        fail(be, lt, p, error);
}
