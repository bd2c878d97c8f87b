// Products: operands brought to the type and alignment that cuBLASLt wants, a product a picture, what follows it.
//
// All pictures of a call take the same way (it depends on shapes, types and strides, not on the picture), and a shape's
// algorithm is fixed, so a picture's bits are those that it has alone.
#include "kernels/cuda/cuda.h"
#include "kernels/shape.h"

enum { ALIGN = ECD_CUBLASLT_ALIGN, DEPTH = 8 }; // input channels come in multiples of DEPTH: zeros fill them up

typedef struct job {
    ecd_backend *be;
    const ecd_linear *op;
    bool narrow;
    size_t act_bytes;
    int64_t cols, x_stride, w_stride, out_stride; // cols: filled up
    bool lends_w, lends_x, direct; // used where they lie; the product writes the output itself
    bool out_narrow;
} job;

static bool aligned(const void *at, int64_t stride, size_t element_bytes)
{
    return (uintptr_t)at % ALIGN == 0 && (size_t)stride * element_bytes % ALIGN == 0;
}

// Whether the library's own arithmetic says what the operation says: sums, perhaps a bias onto f32, or added to f32.
static bool says_all(const job *j)
{
    const ecd_linear *op = j->op;
    if (op->w->scale_kind == ECD_SCALE_TENSOR || op->w->scale_kind == ECD_SCALE_ROW)
        return false;
    if (op->epilogue == ECD_EPILOGUE_RESIDUAL)
        return !op->gate && !op->bias;
    return op->epilogue == ECD_EPILOGUE_NONE && (!op->bias || !j->out_narrow);
}

static job job_of(ecd_backend *be, const ecd_linear *op)
{
    const ecd_weight *w = op->w;
    job j = {.be = be, .op = op, .narrow = ecd_cuda_narrow(be), .act_bytes = be->act_bytes};
    ecd_dtype type = j.narrow ? ECD_BF16 : ECD_F32;
    j.cols = (w->cols + DEPTH - 1) / DEPTH * DEPTH;
    j.x_stride = ecd_stride_or(op->x_stride, w->cols);
    j.out_stride = ecd_stride_or(op->out_stride, w->rows);
    j.out_narrow = j.narrow && !op->out_f32 && op->epilogue != ECD_EPILOGUE_RESIDUAL;
    j.lends_w = w->dtype == type && w->scale_kind != ECD_SCALE_BLOCK && j.cols == w->cols &&
                aligned(w->data, w->cols, j.act_bytes);
    j.lends_x = j.cols == w->cols && aligned(op->x, j.x_stride, j.act_bytes);
    j.direct = says_all(&j) && aligned(op->out, j.out_stride, j.out_narrow ? 2 : 4);
    j.w_stride = j.lends_w ? w->cols : j.cols;
    return j;
}

// Where a picture's product reads and writes.
typedef struct place {
    char *workspace, *w, *x;
    float *sums;
    int64_t sums_stride;
} place;

static int64_t sums_stride(const ecd_weight *w)
{
    return (w->rows + 3) / 4 * 4;
}

// Bytes of scratch, and what of them is for what.
typedef struct need {
    size_t w, x, sums;
} need;

static size_t measure(const job *j, need *out)
{
    const ecd_linear *op = j->op;
    out->w = j->lends_w ? 0 : ecd_cuda_piece(op->w->rows, j->cols, j->act_bytes);
    out->x = j->lends_x ? 0 : ecd_cuda_piece(op->rows, j->cols, j->act_bytes);
    out->sums = j->direct ? 0 : ecd_cuda_piece(op->rows, sums_stride(op->w), sizeof(float));
    return ECD_CUBLASLT_WORKSPACE + out->w + out->x + out->sums;
}

static bool reserve(const job *j, place *at)
{
    need n;
    at->sums_stride = sums_stride(j->op->w);
    at->workspace = ecd_cuda_scratch(j->be, measure(j, &n));
    if (!at->workspace)
        return false;
    at->w = at->workspace + ECD_CUBLASLT_WORKSPACE;
    at->x = at->w + n.w;
    at->sums = (float *)(void *)(at->x + n.x);
    return true;
}

// Of an operation whose sums are not written where they belong.
uint64_t ecd_cuda_linear_scratch(ecd_backend *be, const ecd_weight *w, int64_t rows)
{
    need n;
    ecd_weight aligned_w = *w;
    aligned_w.data = NULL;
    const ecd_linear op = {.w = &aligned_w, .pictures = 1, .rows = rows, .epilogue = ECD_EPILOGUE_SILU};
    const job j = job_of(be, &op);
    return measure(&j, &n);
}

static void multiply(const job *j, const place *at, int64_t picture)
{
    const ecd_linear *op = j->op;
    ecd_cuda_stream *stream = ecd_cuda_stream_of(j->be);
    int64_t first = picture * op->rows;
    const char *x = (const char *)op->x + (size_t)(first * j->x_stride) * j->act_bytes;
    if (!j->lends_x &&
        !ecd_cuda_done(j->be, "linear: packing rows",
                       ecd_cuda_launch_pack_rows(stream, j->narrow, x, op->rows, op->w->cols, j->x_stride, j->cols,
                                                 at->x)))
        return;
    ecd_cublaslt_product p = {
        .narrow = j->narrow,
        .out_narrow = j->direct && j->out_narrow,
        .add = j->direct && op->epilogue == ECD_EPILOGUE_RESIDUAL,
        .rows = op->rows,
        .cols = j->cols,
        .channels = op->w->rows,
        .x_stride = j->lends_x ? j->x_stride : j->cols,
        .w_stride = j->w_stride,
        .out_stride = j->direct ? j->out_stride : at->sums_stride,
        .x = j->lends_x ? x : at->x,
        .w = j->lends_w ? op->w->data : at->w,
        .bias = j->direct ? op->bias : NULL,
        .out = j->direct ? (char *)op->out + (size_t)(first * j->out_stride) * (j->out_narrow ? 2 : 4)
                         : (char *)(void *)at->sums,
    };
    ecd_cublaslt_multiply(j->be, ecd_cuda_of(j->be)->cublaslt, &p, at->workspace, stream);
    if (ecd_backend_ok(j->be) && !j->direct)
        ecd_cuda_done(j->be, "linear: epilogue",
                      ecd_cuda_launch_epilogue(stream, j->narrow, op, first, op->rows, at->sums, at->sums_stride));
}

void ecd_cuda_linear(ecd_backend *be, const ecd_linear *op)
{
    if (!ecd_shape_linear(be, op) || op->pictures * op->rows == 0)
        return;
    const job j = job_of(be, op);
    place at;
    if (!reserve(&j, &at))
        return;
    if (!j.lends_w)
        ecd_cuda_done(be, "linear: expanding a weight",
                      ecd_cuda_launch_expand(ecd_cuda_stream_of(be), j.narrow, op->w, j.cols, at.w));
    for (int64_t picture = 0; ecd_backend_ok(be) && picture < op->pictures; picture++)
        multiply(&j, &at, picture);
}
