#include "kernels/cuda/cublaslt.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "kernels/cuda/cublaslt_abi.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/timing.h"

enum { CANDIDATES = 8 };

// A shape's descriptors and algorithm. The library is column-major: it sees out^T = w x^T, with w as its A, transposed.
typedef struct plan {
    ecd_choice_key key;
    ecd_lt_desc *desc;
    ecd_lt_layout *a, *b, *d;
    ecd_lt_algorithm algorithm;
    bool untried; // another run's choice, which has not multiplied here yet
} plan;

struct ecd_cublaslt {
    void *library;
    ecd_lt_calls call;
    ecd_lt_handle *handle;
    ecd_choices *choices;
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
        SYMBOL(algorithm_check, "cublasLtMatmulAlgoCheck"),
        SYMBOL(algorithm_get, "cublasLtMatmulAlgoConfigGetAttribute"),
        SYMBOL(matmul, "cublasLtMatmul"),
    };
    return ecd_library_open(file, usual, symbols, (int)(sizeof symbols / sizeof *symbols), &lt->library, diag);
}

ecd_status ecd_cublaslt_open(const char *file, ecd_choices *choices, ecd_cublaslt **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_cublaslt *lt = calloc(1, sizeof *lt);
    if (!lt)
        return ecd_fail_memory(diag, sizeof *lt, "cuBLASLt's state");
    lt->choices = choices;
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

static ecd_choice_key key_of(const ecd_cublaslt *lt, const ecd_cublaslt_product *p)
{
    return (ecd_choice_key){.library = "cublaslt",
                            .version = ecd_cublaslt_version(lt),
                            .shape = {p->rows, p->cols, p->channels, p->x_stride, p->w_stride, p->out_stride,
                                      p->out_narrow | p->add << 1 | (p->bias != NULL) << 2 | (int64_t)p->operands << 3}};
}

// Pointers that the descriptor holds.
static int point(const ecd_cublaslt *lt, const ecd_cublaslt_product *p, const plan *to)
{
    int error = p->bias ? lt->call.desc_set(to->desc, ECD_LT_DESC_BIAS_POINTER, &p->bias, sizeof p->bias) : 0;
    if (!error && p->x_scale)
        error = lt->call.desc_set(to->desc, ECD_LT_DESC_B_SCALE_POINTER, &p->x_scale, sizeof p->x_scale);
    return error;
}

static int describe(const ecd_cublaslt *lt, const ecd_cublaslt_product *p, plan *to)
{
    const ecd_lt_calls *c = &lt->call;
    static const int types[] = {
        [ECD_CUBLASLT_F32] = ECD_LT_R_32F, [ECD_CUBLASLT_BF16] = ECD_LT_R_16BF, [ECD_CUBLASLT_E4M3] = ECD_LT_R_8F_E4M3};
    int type = types[p->operands], out_type = p->out_narrow ? ECD_LT_R_16BF : ECD_LT_R_32F;
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
    return point(lt, p, to); // the heuristic looks at whether there are such pointers
}

// Asks for the candidates of a shape, the best first as far as the library knows.
static int ask(const ecd_cublaslt *lt, const plan *to, ecd_lt_heuristic found[CANDIDATES], int *count)
{
    const ecd_lt_calls *c = &lt->call;
    static const int alignments[] = {ECD_LT_PREF_MIN_ALIGNMENT_A_BYTES, ECD_LT_PREF_MIN_ALIGNMENT_B_BYTES,
                                     ECD_LT_PREF_MIN_ALIGNMENT_C_BYTES, ECD_LT_PREF_MIN_ALIGNMENT_D_BYTES};
    uint64_t workspace = ECD_CUBLASLT_WORKSPACE;
    uint32_t scheme = ECD_LT_REDUCTION_COMPUTE_TYPE, align = ECD_CUBLASLT_ALIGN;
    ecd_lt_preference *preference = NULL;
    int error = c->preference_create(&preference);
    if (!error)
        error = c->preference_set(preference, ECD_LT_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    if (!error)
        error = c->preference_set(preference, ECD_LT_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme);
    for (int i = 0; !error && i < 4; i++)
        error = c->preference_set(preference, alignments[i], &align, sizeof align);
    if (!error)
        error = c->heuristic(lt->handle, to->desc, to->a, to->b, to->d, to->d, preference, CANDIDATES, found, count);
    if (preference)
        c->preference_destroy(preference);
    return error;
}

// Whether its sums are ones that are asked for (`ask`): split or not, added up in f32.
static bool adds_in_f32(const ecd_cublaslt *lt, const ecd_lt_algorithm *algorithm)
{
    uint32_t scheme = 0;
    size_t written = 0;
    return !lt->call.algorithm_get(algorithm, ECD_LT_CONFIG_REDUCTION_SCHEME, &scheme, sizeof scheme, &written) &&
           written == sizeof scheme && (scheme == ECD_LT_REDUCTION_NONE || scheme == ECD_LT_REDUCTION_COMPUTE_TYPE);
}

// A product whose algorithm is looked for.
typedef struct search {
    const ecd_cublaslt *lt;
    plan *to;
    const ecd_cublaslt_product *product;
    void *workspace, *out; // out: where candidates write, which must not be the product's own that they may add to
    ecd_cuda_stream *stream;
    bool anew, asked; // anew: what was chosen before does not run
    ecd_lt_heuristic found[CANDIDATES];
} search;

static int run(const ecd_cublaslt *lt, const plan *to, const ecd_cublaslt_product *p, const ecd_lt_algorithm *algorithm,
               void *out, void *workspace, ecd_cuda_stream *stream)
{
    const float one = 1, zero = 0;
    return lt->call.matmul(lt->handle, to->desc, &one, p->w, to->a, p->x, to->b, p->add ? &one : &zero, out, to->d, out,
                           to->d, algorithm, workspace, ECD_CUBLASLT_WORKSPACE, stream);
}

static int run_candidate(void *user, int i)
{
    search *s = user;
    return run(s->lt, s->to, s->product, &s->found[i].algorithm, s->out, s->workspace, s->stream);
}

// The fastest, or -1.
static int time_candidates(search *s, int count)
{
    const ecd_cublaslt_product *p = s->product;
    s->out = ecd_cuda_borrow(s->stream, (size_t)(p->rows * p->out_stride) * (p->out_narrow ? 2 : 4));
    int fastest = s->out ? ecd_cuda_fastest(s->stream, count, run_candidate, s) : -1;
    ecd_cuda_give_back(s->stream, s->out);
    return fastest;
}

static int choose(void *user, bool timed, ecd_choice *out)
{
    search *s = user;
    int count = 0, fit = 0, error = ask(s->lt, s->to, s->found, &count);
    s->asked = true;
    for (int i = 0; !error && i < count; i++)
        if (!s->found[i].state && s->found[i].workspace_bytes <= ECD_CUBLASLT_WORKSPACE)
            s->found[fit++] = s->found[i];
    if (error || !fit)
        return error ? error : ECD_LT_NOT_SUPPORTED;
    int fastest = timed ? time_candidates(s, fit) : -1;
    out->timed = fastest >= 0;
    _Static_assert(sizeof out->data == sizeof s->found->algorithm, "an algorithm is kept as it is");
    memcpy(out->data, &s->found[fastest >= 0 ? fastest : 0].algorithm, sizeof out->data);
    return 0;
}

static bool usable(void *user, const ecd_choice *choice)
{
    search *s = user;
    ecd_lt_algorithm algorithm;
    ecd_lt_heuristic result = {.state = ECD_LT_NOT_SUPPORTED};
    memcpy(&algorithm, choice->data, sizeof algorithm);
    return !s->anew && adds_in_f32(s->lt, &algorithm) &&
           !s->lt->call.algorithm_check(s->lt->handle, s->to->desc, s->to->a, s->to->b, s->to->d, s->to->d, &algorithm,
                                        &result) &&
           result.workspace_bytes <= ECD_CUBLASLT_WORKSPACE;
}

static int settle(const ecd_cublaslt *lt, plan *to, const ecd_cublaslt_product *p, void *workspace,
                  ecd_cuda_stream *stream, bool anew)
{
    search s = {.lt = lt, .to = to, .product = p, .workspace = workspace, .stream = stream, .anew = anew};
    const ecd_choosing how = {usable, choose, &s};
    ecd_choice choice;
    int error = ecd_choices_settle(lt->choices, &to->key, &how, &choice);
    if (!error)
        memcpy(&to->algorithm, choice.data, sizeof to->algorithm);
    to->untried = !s.asked;
    return error;
}

static void fail(ecd_backend *be, const ecd_cublaslt *lt, const ecd_cublaslt_product *p, int error)
{
    ecd_backend_fail(be, ECD_RESOURCE, "cuBLASLt: a product of [%lld, %lld] by [%lld, %lld]: %s", (long long)p->rows,
                     (long long)p->cols, (long long)p->channels, (long long)p->cols, lt->call.status_string(error));
}

static plan *plan_of(ecd_backend *be, ecd_cublaslt *lt, const ecd_cublaslt_product *p, void *workspace,
                     ecd_cuda_stream *stream)
{
    const ecd_choice_key wanted = key_of(lt, p);
    for (size_t i = 0; i < lt->count; i++)
        if (!memcmp(lt->plans[i].key.shape, wanted.shape, sizeof wanted.shape))
            return &lt->plans[i];
    plan *plans = ecd_grow(lt->plans, lt->count + 1, &lt->capacity, sizeof *plans);
    if (!plans) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: the list of products");
        return NULL;
    }
    lt->plans = plans;
    plan made = {.key = wanted};
    int error = describe(lt, p, &made);
    if (!error)
        error = settle(lt, &made, p, workspace, stream, false);
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
    plan *chosen = plan_of(be, lt, p, workspace, stream);
    if (!chosen)
        return;
    int error = point(lt, p, chosen);
    if (!error)
        error = run(lt, chosen, p, &chosen->algorithm, p->out, workspace, stream);
    // The library's check does not promise that what it accepts runs.
    if (error && chosen->untried && !settle(lt, chosen, p, workspace, stream, true))
        error = run(lt, chosen, p, &chosen->algorithm, p->out, workspace, stream);
    chosen->untried = false;
    if (error)
        fail(be, lt, p, error);
}
