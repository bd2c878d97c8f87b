// cuBLASLt's functions as the backend calls them. What is demanded is the manual's ("cublasLtMatmul", the tables of types
// and of epilogues; "cublasLtMatmulPreferenceAttributes_t") for tensor cores: pointers and strides of 16 bytes.
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernels/cuda/cublaslt_abi.h"
#include "tests/cuda_fake/fake.h"

struct ecd_lt_handle {
    int unused;
};
struct ecd_lt_desc {
    int compute, scale_type, transposed[2], epilogue;
    const float *bias, *b_scale;
};
struct ecd_lt_layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
};
struct ecd_lt_preference {
    uint64_t workspace;
    uint32_t schemes, align[4];
};

ECD_FAKE_API int cublasLtCreate(ecd_lt_handle **out);
ECD_FAKE_API int cublasLtDestroy(ecd_lt_handle *h);
ECD_FAKE_API size_t cublasLtGetVersion(void);
ECD_FAKE_API const char *cublasLtGetStatusString(int status);
ECD_FAKE_API int cublasLtMatmulDescCreate(ecd_lt_desc **out, int compute, int scale_type);
ECD_FAKE_API int cublasLtMatmulDescDestroy(ecd_lt_desc *d);
ECD_FAKE_API int cublasLtMatmulDescSetAttribute(ecd_lt_desc *d, int attribute, const void *value, size_t bytes);
ECD_FAKE_API int cublasLtMatrixLayoutCreate(ecd_lt_layout **out, int type, uint64_t rows, uint64_t cols, int64_t ld);
ECD_FAKE_API int cublasLtMatrixLayoutDestroy(ecd_lt_layout *l);
ECD_FAKE_API int cublasLtMatmulPreferenceCreate(ecd_lt_preference **out);
ECD_FAKE_API int cublasLtMatmulPreferenceDestroy(ecd_lt_preference *p);
ECD_FAKE_API int cublasLtMatmulPreferenceSetAttribute(ecd_lt_preference *p, int attribute, const void *value,
                                                      size_t bytes);
ECD_FAKE_API int cublasLtMatmulAlgoGetHeuristic(ecd_lt_handle *h, ecd_lt_desc *desc, ecd_lt_layout *a, ecd_lt_layout *b,
                                                ecd_lt_layout *c, ecd_lt_layout *d, ecd_lt_preference *p, int wanted,
                                                ecd_lt_heuristic *out, int *found);
ECD_FAKE_API int cublasLtMatmulAlgoCheck(ecd_lt_handle *h, ecd_lt_desc *desc, ecd_lt_layout *a, ecd_lt_layout *b,
                                         ecd_lt_layout *c, ecd_lt_layout *d, const ecd_lt_algorithm *algorithm,
                                         ecd_lt_heuristic *out);
ECD_FAKE_API int cublasLtMatmulAlgoConfigGetAttribute(const ecd_lt_algorithm *algorithm, int attribute, void *value,
                                                      size_t bytes, size_t *written);
ECD_FAKE_API int cublasLtMatmul(ecd_lt_handle *h, ecd_lt_desc *desc, const void *alpha, const void *a, ecd_lt_layout *al,
                                const void *b, ecd_lt_layout *bl, const void *beta, const void *c, ecd_lt_layout *cl,
                                void *d, ecd_lt_layout *dl, const ecd_lt_algorithm *algorithm, void *workspace,
                                size_t workspace_bytes, void *stream);

enum { OK = ECD_LT_SUCCESS, BAD = ECD_LT_INVALID_VALUE, NO = ECD_LT_NOT_SUPPORTED, ALLOC_FAILED = 3, ALIGN = 16 };
enum { STAMP = 0xecd, SPLIT_IN_F32 = 2, SPLIT_IN_BF16 = 3 }; // the last adds parts as no heuristic was asked to
static const double run_ms[ECD_FAKE_ALGORITHMS] = {9, 2, 1, 0.5};

static int make(void **out, size_t bytes)
{
    return ecd_fake_make(out, bytes, NO, ALLOC_FAILED);
}

int cublasLtCreate(ecd_lt_handle **out)
{
    return make((void **)out, sizeof **out);
}

int cublasLtDestroy(ecd_lt_handle *h)
{
    return ecd_fake_drop(h);
}

size_t cublasLtGetVersion(void)
{
    return 130100;
}

const char *cublasLtGetStatusString(int status)
{
    return status == BAD ? ecd_fake_error() ? ecd_fake_error() : "invalid value" : status == NO ? "not supported" : "failed";
}

int cublasLtMatmulDescCreate(ecd_lt_desc **out, int compute, int scale_type)
{
    int status = make((void **)out, sizeof **out);
    if (!status)
        **out = (ecd_lt_desc){.compute = compute, .scale_type = scale_type, .epilogue = ECD_LT_EPILOGUE_DEFAULT};
    return status;
}

int cublasLtMatmulDescDestroy(ecd_lt_desc *d)
{
    return ecd_fake_drop(d);
}

static bool sized(size_t bytes, size_t expected, int attribute)
{
    return ecd_fake_expect(bytes == expected, "cuBLASLt: attribute %d of %zu bytes, expected %zu", attribute, bytes,
                           expected);
}

int cublasLtMatmulDescSetAttribute(ecd_lt_desc *d, int attribute, const void *value, size_t bytes)
{
    void *to = attribute == ECD_LT_DESC_TRANSA         ? (void *)&d->transposed[0]
               : attribute == ECD_LT_DESC_TRANSB       ? (void *)&d->transposed[1]
               : attribute == ECD_LT_DESC_EPILOGUE     ? (void *)&d->epilogue
               : attribute == ECD_LT_DESC_BIAS_POINTER ? (void *)&d->bias
               : attribute == ECD_LT_DESC_B_SCALE_POINTER ? (void *)&d->b_scale
                                                          : NULL;
    bool pointer = attribute == ECD_LT_DESC_BIAS_POINTER || attribute == ECD_LT_DESC_B_SCALE_POINTER;
    size_t expected = pointer ? sizeof d->bias : sizeof(int32_t);
    if (!ecd_fake_expect(to, "cuBLASLt: unknown attribute %d of a product", attribute) ||
        !sized(bytes, expected, attribute))
        return BAD;
    memcpy(to, value, bytes);
    return ecd_fake_call_fails() ? NO : OK;
}

static size_t element(int type)
{
    return type == ECD_LT_R_8F_E4M3 ? 1 : type == ECD_LT_R_16BF ? 2 : 4;
}

int cublasLtMatrixLayoutCreate(ecd_lt_layout **out, int type, uint64_t rows, uint64_t cols, int64_t ld)
{
    if (!ecd_fake_expect(type == ECD_LT_R_16BF || type == ECD_LT_R_32F || type == ECD_LT_R_8F_E4M3, "cuBLASLt: a matrix of type %d", type) ||
        !ecd_fake_expect(rows && cols && ld >= (int64_t)rows, "cuBLASLt: a matrix of %llu x %llu, columns %lld apart",
                         (unsigned long long)rows, (unsigned long long)cols, (long long)ld))
        return BAD;
    int status = make((void **)out, sizeof **out);
    if (!status)
        **out = (ecd_lt_layout){type, rows, cols, ld};
    return status;
}

int cublasLtMatrixLayoutDestroy(ecd_lt_layout *l)
{
    return ecd_fake_drop(l);
}

int cublasLtMatmulPreferenceCreate(ecd_lt_preference **out)
{
    return make((void **)out, sizeof **out);
}

int cublasLtMatmulPreferenceDestroy(ecd_lt_preference *p)
{
    return ecd_fake_drop(p);
}

int cublasLtMatmulPreferenceSetAttribute(ecd_lt_preference *p, int attribute, const void *value, size_t bytes)
{
    bool workspace = attribute == ECD_LT_PREF_MAX_WORKSPACE_BYTES, scheme = attribute == ECD_LT_PREF_REDUCTION_SCHEME_MASK;
    int align = attribute - ECD_LT_PREF_MIN_ALIGNMENT_A_BYTES;
    if (!ecd_fake_expect(workspace || scheme || (align >= 0 && align < 4), "cuBLASLt: unknown preference %d", attribute) ||
        !sized(bytes, workspace ? sizeof p->workspace : sizeof(uint32_t), attribute))
        return BAD;
    memcpy(workspace ? (void *)&p->workspace : scheme ? (void *)&p->schemes : (void *)&p->align[align], value, bytes);
    return ecd_fake_call_fails() ? NO : OK;
}

// out^T [channels, rows] = w [channels, cols] x^T [cols, rows], column-major: the first operand is w, transposed.
static bool fits(const ecd_lt_desc *desc, const ecd_lt_layout *a, const ecd_lt_layout *b, const ecd_lt_layout *c,
                 const ecd_lt_layout *d)
{
    const bool eighth = a->type == ECD_LT_R_8F_E4M3;
    if (!ecd_fake_expect(desc->compute == ECD_LT_COMPUTE_32F && desc->scale_type == ECD_LT_R_32F,
                         "cuBLASLt: compute type %d, scale type %d, expected f32", desc->compute, desc->scale_type) ||
        !ecd_fake_expect(desc->transposed[0] == ECD_LT_OP_T && desc->transposed[1] == ECD_LT_OP_N,
                         "cuBLASLt: transpositions %d, %d", desc->transposed[0], desc->transposed[1]) ||
        !ecd_fake_expect(a->rows == b->rows && a->cols == d->rows && b->cols == d->cols,
                         "cuBLASLt: [%llu, %llu] by [%llu, %llu] is not [%llu, %llu]", (unsigned long long)a->rows,
                         (unsigned long long)a->cols, (unsigned long long)b->rows, (unsigned long long)b->cols,
                         (unsigned long long)d->rows, (unsigned long long)d->cols) ||
        !ecd_fake_expect(c->rows == d->rows && c->cols == d->cols && c->ld == d->ld && c->type == d->type,
                         "cuBLASLt: C and D differ") ||
        !ecd_fake_expect(a->type == b->type && (d->type == (eighth ? (int)ECD_LT_R_16BF : a->type) || d->type == ECD_LT_R_32F),
                         "cuBLASLt: types %d, %d to %d", a->type, b->type, d->type) ||
        !ecd_fake_expect(!eighth || (a->rows % ALIGN == 0 && a->cols % ALIGN == 0),
                         "cuBLASLt: FP8 of [%llu, %llu], expected multiples of 16", (unsigned long long)a->cols,
                         (unsigned long long)a->rows) ||
        !ecd_fake_expect(!eighth || desc->epilogue == ECD_LT_EPILOGUE_DEFAULT, "cuBLASLt: FP8 has no f32 bias") ||
        !ecd_fake_expect(eighth == (desc->b_scale != NULL), "cuBLASLt: a scale for type %d", b->type))
        return false;
    const ecd_lt_layout *all[] = {a, b, d};
    for (int i = 0; i < 3; i++)
        if (!ecd_fake_expect((size_t)all[i]->ld * element(all[i]->type) % ALIGN == 0,
                             "cuBLASLt: columns %lld elements of %zu bytes apart, expected multiples of 16 bytes",
                             (long long)all[i]->ld, element(all[i]->type)))
            return false;
    bool biased = desc->epilogue == ECD_LT_EPILOGUE_BIAS;
    return ecd_fake_expect(biased || desc->epilogue == ECD_LT_EPILOGUE_DEFAULT, "cuBLASLt: epilogue %d", desc->epilogue) &&
           ecd_fake_expect(!biased || (d->type == ECD_LT_R_32F && desc->bias), "cuBLASLt: an f32 bias wants an f32 output");
}

// An algorithm is for one shape alone: the stamp says which, and its first word which of that shape's.
static ecd_lt_algorithm stamp(const ecd_lt_desc *desc, const ecd_lt_layout *a, const ecd_lt_layout *b,
                              const ecd_lt_layout *d, unsigned number)
{
    return (ecd_lt_algorithm){{STAMP | (uint64_t)number << 16, a->rows, d->rows, d->cols, (uint64_t)a->ld, (uint64_t)b->ld, (uint64_t)d->ld,
                               (uint64_t)(a->type + 100 * d->type + 10000 * desc->epilogue)}};
}

int cublasLtMatmulAlgoGetHeuristic(ecd_lt_handle *h, ecd_lt_desc *desc, ecd_lt_layout *a, ecd_lt_layout *b,
                                   ecd_lt_layout *c, ecd_lt_layout *d, ecd_lt_preference *p, int wanted,
                                   ecd_lt_heuristic *out, int *found)
{
    *found = 0;
    if (ecd_fake_call_fails())
        return NO;
    ecd_fake_count.heuristics++;
    if (!ecd_fake_expect(h && wanted >= 1, "cuBLASLt: no handle or no room") || !fits(desc, a, b, c, d) ||
        !ecd_fake_expect(p->workspace > 0 && p->schemes == ECD_LT_REDUCTION_COMPUTE_TYPE,
                         "cuBLASLt: workspace %llu, reductions %u", (unsigned long long)p->workspace, p->schemes))
        return BAD;
    for (int i = 0; i < 4; i++)
        if (!ecd_fake_expect(p->align[i] == ALIGN, "cuBLASLt: alignment %u of operand %d", p->align[i], i))
            return BAD;
    // One that is not to be had, then two that are.
    for (int i = 0; i < wanted && i < SPLIT_IN_BF16; i++)
        out[(*found)++] = (ecd_lt_heuristic){
            .algorithm = stamp(desc, a, b, d, (unsigned)i), .workspace_bytes = 1 << 20, .state = i ? OK : NO};
    return OK;
}

// Which of the shape's algorithms it is; -1: none.
static int number_of(const ecd_lt_algorithm *algorithm, const ecd_lt_desc *desc, const ecd_lt_layout *a,
                     const ecd_lt_layout *b, const ecd_lt_layout *d)
{
    for (unsigned i = 0; i < ECD_FAKE_ALGORITHMS; i++) {
        const ecd_lt_algorithm one = stamp(desc, a, b, d, i);
        if (!memcmp(&one, algorithm, sizeof one))
            return (int)i;
    }
    return -1;
}

int cublasLtMatmulAlgoCheck(ecd_lt_handle *h, ecd_lt_desc *desc, ecd_lt_layout *a, ecd_lt_layout *b, ecd_lt_layout *c,
                            ecd_lt_layout *d, const ecd_lt_algorithm *algorithm, ecd_lt_heuristic *out)
{
    if (ecd_fake_call_fails())
        return NO;
    ecd_fake_count.checks++;
    if (!ecd_fake_expect(h, "cuBLASLt: no handle") || !fits(desc, a, b, c, d))
        return BAD;
    out->workspace_bytes = 1 << 20;
    return number_of(algorithm, desc, a, b, d) < 0 ? BAD : OK;
}

int cublasLtMatmulAlgoConfigGetAttribute(const ecd_lt_algorithm *algorithm, int attribute, void *value, size_t bytes,
                                         size_t *written)
{
    unsigned number = (unsigned)(algorithm->data[0] >> 16);
    uint32_t scheme = number == SPLIT_IN_F32    ? (uint32_t)ECD_LT_REDUCTION_COMPUTE_TYPE
                      : number == SPLIT_IN_BF16 ? 4
                                                : (uint32_t)ECD_LT_REDUCTION_NONE;
    if (!ecd_fake_expect(attribute == ECD_LT_CONFIG_REDUCTION_SCHEME && bytes == sizeof scheme,
                         "cuBLASLt: attribute %d of %zu bytes of an algorithm", attribute, bytes))
        return BAD;
    memcpy(value, &scheme, sizeof scheme);
    *written = sizeof scheme;
    return ecd_fake_call_fails() ? NO : OK;
}

static float value(const void *matrix, const ecd_lt_layout *l, uint64_t row, uint64_t col)
{
    size_t at = (size_t)l->ld * col + row;
    return l->type == ECD_LT_R_16BF       ? ecd_fake_bf16(((const uint16_t *)matrix)[at])
           : l->type == ECD_LT_R_8F_E4M3 ? ecd_from_e4m3(((const uint8_t *)matrix)[at])
                                         : ((const float *)matrix)[at];
}

static void put(void *matrix, const ecd_lt_layout *l, uint64_t row, uint64_t col, float v)
{
    size_t at = (size_t)l->ld * col + row;
    if (l->type == ECD_LT_R_16BF)
        ((uint16_t *)matrix)[at] = ecd_to_bf16(v);
    else
        ((float *)matrix)[at] = v;
}

// A product as it was asked for: descriptors may change before it is done.
typedef struct product {
    ecd_lt_desc desc;
    ecd_lt_layout al, bl, dl;
    const void *a, *b;
    void *d;
    float alpha, beta;
    double ms;
} product;

// out[m][n] sums x[m][k] w[k][n] in the order of k; the weight is turned so that a row's sums run side by side.
static bool compute(const product *p)
{
    const ecd_lt_layout *dl = &p->dl;
    size_t depth = p->al.rows, channels = dl->rows;
    float *w = malloc(depth * channels * sizeof *w), *sums = malloc(channels * sizeof *sums);
    for (size_t n = 0; w && n < channels; n++)
        for (size_t k = 0; k < depth; k++)
            w[k * channels + n] = value(p->a, &p->al, k, n);
    for (uint64_t m = 0; w && sums && m < dl->cols; m++) {
        memset(sums, 0, channels * sizeof *sums);
        for (size_t k = 0; k < depth; k++) {
            float x = value(p->b, &p->bl, k, m);
            for (size_t n = 0; n < channels; n++)
                sums[n] += x * w[k * channels + n];
        }
        for (size_t n = 0; n < channels; n++) {
            float v = p->alpha * sums[n] * (p->desc.b_scale ? *p->desc.b_scale : 1);
            if (p->beta != 0)
                v += p->beta * value(p->d, dl, n, m);
            if (p->desc.epilogue == ECD_LT_EPILOGUE_BIAS)
                v += p->desc.bias[n];
            put(p->d, dl, n, m, v);
        }
    }
    bool done = w && sums;
    free(w);
    free(sums);
    return done;
}

static void run(void *arguments)
{
    const product *p = arguments;
    ecd_fake_take(p->ms);
    if (ecd_fake_computes())
        ecd_fake_expect(compute(p), "cuBLASLt: out of memory");
}

static bool there(const char *what, const void *at, const ecd_lt_layout *l)
{
    size_t bytes = ((size_t)l->ld * (l->cols - 1) + l->rows) * element(l->type);
    return ecd_fake_expect((uintptr_t)at % ALIGN == 0, "cuBLASLt: %s at %p, expected a multiple of 16", what, at) &&
           ecd_fake_expect(ecd_fake_device_holds(at, bytes), "cuBLASLt: %s of %zu bytes is not in device memory", what,
                           bytes);
}

int cublasLtMatmul(ecd_lt_handle *h, ecd_lt_desc *desc, const void *alpha, const void *a, ecd_lt_layout *al, const void *b,
                   ecd_lt_layout *bl, const void *beta, const void *c, ecd_lt_layout *cl, void *d, ecd_lt_layout *dl,
                   const ecd_lt_algorithm *algorithm, void *workspace, size_t workspace_bytes, void *stream)
{
    if (ecd_fake_call_fails())
        return NO;
    ecd_fake_count.products++;
    int number = number_of(algorithm, desc, al, bl, dl);
    if (!ecd_fake_expect(h && stream, "cuBLASLt: no handle or the default stream") || !fits(desc, al, bl, cl, dl) ||
        !there("the weight", a, al) || !there("the input", b, bl) || !there("the output", d, dl) ||
        !ecd_fake_expect(c == d, "cuBLASLt: C is not D") ||
        !ecd_fake_expect(number >= 0 && number < SPLIT_IN_BF16, "cuBLASLt: another shape's algorithm, or a forbidden one") ||
        !ecd_fake_expect(workspace_bytes >= 1 << 20 && (uintptr_t)workspace % 256 == 0 &&
                             ecd_fake_device_holds(workspace, workspace_bytes),
                         "cuBLASLt: a workspace of %zu bytes at %p", workspace_bytes, workspace) ||
        !ecd_fake_expect(!desc->b_scale || ecd_fake_device_holds(desc->b_scale, sizeof(float)),
                         "cuBLASLt: the scale is not in device memory") ||
        !ecd_fake_expect(desc->epilogue != ECD_LT_EPILOGUE_BIAS ||
                             ecd_fake_device_holds(desc->bias, dl->rows * sizeof(float)),
                         "cuBLASLt: the bias is not in device memory"))
        return BAD;
    ecd_fake_count.algorithms[number]++;
    if (number == 0)
        return NO; // the heuristic says so, the check does not
    ecd_fake_count.fp8_products += al->type == ECD_LT_R_8F_E4M3;
    const product p = {*desc, *al, *bl, *dl, a, b, d, *(const float *)alpha, *(const float *)beta, run_ms[number]};
    if (ecd_fake_defers(stream, run, &p, sizeof p))
        return OK;
    ecd_fake_take(p.ms);
    return !ecd_fake_computes() || compute(&p) ? OK : ALLOC_FAILED;
}
