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
    bool narrow, fp8; // fp8: both operands in E4M3
    size_t act_bytes, operand_bytes;
    int64_t cols, x_stride, w_stride, out_stride; // cols: filled up
    bool lends_w, lends_x, direct; // used where they lie; the product writes the output itself
    bool has_x; // the scratch holds x from the operation before
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
    if (op->w->scale_kind == ECD_SCALE_TENSOR || op->w->scale_kind == ECD_SCALE_ROW || (j->fp8 && op->bias))
        return false;
    if (op->epilogue == ECD_EPILOGUE_RESIDUAL)
        return !op->gate && !op->bias;
    return op->epilogue == ECD_EPILOGUE_NONE && (!op->bias || !j->out_narrow);
}

// Types and shapes alone say so, not where a weight lies: the bits must not depend on that.
static bool takes_fp8(const ecd_backend *be, const ecd_weight *w)
{
    return be->compute == ECD_COMPUTE_FP8 && w->dtype == ECD_E4M3 && w->scale_kind != ECD_SCALE_BLOCK &&
           w->cols % ALIGN == 0 && w->rows % ALIGN == 0;
}

static job job_of(ecd_backend *be, const ecd_linear *op)
{
    const ecd_weight *w = op->w;
    job j = {.be = be, .op = op, .narrow = ecd_cuda_narrow(be), .fp8 = takes_fp8(be, w), .act_bytes = be->act_bytes};
    ecd_dtype type = j.fp8 ? ECD_E4M3 : j.narrow ? ECD_BF16 : ECD_F32;
    j.operand_bytes = j.fp8 ? 1 : j.act_bytes;
    j.cols = (w->cols + DEPTH - 1) / DEPTH * DEPTH;
    j.x_stride = ecd_stride_or(op->x_stride, w->cols);
    j.out_stride = ecd_stride_or(op->out_stride, w->rows);
    j.out_narrow = j.narrow && !op->out_f32 && op->epilogue != ECD_EPILOGUE_RESIDUAL;
    j.lends_w = w->dtype == type && w->scale_kind != ECD_SCALE_BLOCK && j.cols == w->cols &&
                aligned(w->data, w->cols, j.operand_bytes);
    j.lends_x = !j.fp8 && j.cols == w->cols && aligned(op->x, j.x_stride, j.act_bytes);
    j.direct = says_all(&j) && aligned(op->out, j.out_stride, j.out_narrow ? 2 : 4);
    j.w_stride = j.lends_w ? w->cols : j.cols;
    return j;
}

// Where a picture's product reads and writes. x and its scale come first: the next product of the same x finds them there.
typedef struct place {
    char *workspace, *w, *x;
    float *sums, *scale; // scale: of x, and a word behind it
    int64_t sums_stride;
} place;

static int64_t sums_stride(const ecd_weight *w)
{
    return (w->rows + 3) / 4 * 4;
}

// Bytes of scratch, and what of them is for what.
typedef struct need {
    size_t w, x, sums, scale;
} need;

static size_t measure(const job *j, need *out)
{
    const ecd_linear *op = j->op;
    out->w = j->lends_w ? 0 : ecd_cuda_piece(op->w->rows, j->cols, j->operand_bytes);
    out->x = j->lends_x ? 0 : ecd_cuda_piece(op->rows, j->cols, j->operand_bytes);
    out->scale = j->fp8 ? ecd_cuda_piece(1, 2, sizeof(float)) : 0;
    out->sums = j->direct ? 0 : ecd_cuda_piece(op->rows, sums_stride(op->w), sizeof(float));
    return ECD_CUBLASLT_WORKSPACE + out->w + out->x + out->scale + out->sums;
}

static bool same_x(const job *j, const ecd_cuda_brought *b)
{
    return b->x && b->x == j->op->x && b->rows == j->op->rows && b->cols == j->cols && b->stride == j->x_stride &&
           b->fp8 == j->fp8;
}

// Of several pictures the scratch would hold the last one's rows alone.
static bool reserve(job *j, place *at)
{
    need n;
    ecd_cuda_backend *cuda = ecd_cuda_of(j->be);
    const size_t bytes = measure(j, &n);
    const bool one = !j->lends_x && j->op->pictures == 1;
    j->has_x = one && j->op->x_again && bytes <= cuda->scratch_bytes && same_x(j, &cuda->brought);
    at->sums_stride = sums_stride(j->op->w);
    at->workspace = ecd_cuda_scratch(j->be, bytes);
    if (!at->workspace)
        return false;
    at->x = at->workspace + ECD_CUBLASLT_WORKSPACE;
    at->scale = (float *)(void *)(at->x + n.x);
    at->w = at->x + n.x + n.scale;
    at->sums = (float *)(void *)(at->w + n.w);
    if (one)
        cuda->brought = (ecd_cuda_brought){j->op->x, j->op->rows, j->cols, j->x_stride, j->fp8};
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

void ecd_cuda_widen(ecd_backend *be, const ecd_weight *w, void *to)
{
    ecd_cuda_stream *stream = ecd_cuda_stream_of(be);
    if (ecd_backend_ok(be))
        ecd_cuda_done(be, "widening a weight", ecd_cuda_launch_expand(stream, true, w, w->cols, to));
}

// The weight as the library takes it, for all pictures.
static void bring_weight(const job *j, const place *at)
{
    const ecd_weight *w = j->op->w;
    if (j->lends_w)
        return;
    if (j->fp8)
        ecd_cuda_copy(j->be, at->w, w->data, (size_t)(w->rows * w->cols));
    else
        ecd_cuda_done(j->be, "linear: expanding a weight",
                      ecd_cuda_launch_expand(ecd_cuda_stream_of(j->be), j->narrow, w, j->cols, at->w));
}

// A picture's rows as the library takes them.
static bool bring_rows(const job *j, const place *at, const void *x, ecd_cuda_stream *stream)
{
    const ecd_linear *op = j->op;
    if (j->has_x)
        return true;
    if (j->fp8)
        return ecd_cuda_done(j->be, "linear: quantising rows",
                             ecd_cuda_launch_quantize(stream, x, op->rows, j->cols, j->x_stride, at->x, at->scale,
                                                      (uint32_t *)(void *)(at->scale + 1)));
    return j->lends_x ||
           ecd_cuda_done(j->be, "linear: packing rows",
                         ecd_cuda_launch_pack_rows(stream, j->narrow, x, op->rows, op->w->cols, j->x_stride, j->cols, at->x));
}

static void multiply(const job *j, const place *at, int64_t picture)
{
    const ecd_linear *op = j->op;
    ecd_cuda_stream *stream = ecd_cuda_stream_of(j->be);
    int64_t first = picture * op->rows;
    const char *x = (const char *)op->x + (size_t)(first * j->x_stride) * j->act_bytes;
    if (!bring_rows(j, at, x, stream))
        return;
    ecd_cublaslt_product p = {
        .operands = j->fp8 ? ECD_CUBLASLT_E4M3 : j->narrow ? ECD_CUBLASLT_BF16 : ECD_CUBLASLT_F32,
        .x_scale = j->fp8 ? at->scale : NULL,
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
    job j = job_of(be, op);
    place at;
    if (!reserve(&j, &at))
        return;
    bring_weight(&j, &at);
    for (int64_t picture = 0; ecd_backend_ok(be) && picture < op->pictures; picture++)
        multiply(&j, &at, picture);
}
