// Products by chunks of output channels, of weights that stay ECF8 on the device and of elements alike.
//
// Each chunk of ECF8 is decoded into a slot that is small enough to be found in the level-2 cache, and multiplied from there; the
// decoding stream is a chunk ahead. Chunks follow from the weight's shape alone, so both forms give the same bits. (A chunk is
// another shape to cuBLASLt than the whole, which may choose another algorithm for it.)
//
// Products of few rows can be formed while decoding (ecf8_product.h): an experiment, and other bits.
#include <cuda_runtime_api.h>

#include "kernels/cuda/coded.h"
#include "kernels/shape.h"

// The operation's output channels from `first` on, as many as `rows` has.
static void multiply_rows(ecd_backend *be, const ecd_linear *op, ecd_weight rows, int64_t first)
{
    const ecd_weight *w = op->w;
    bool wide = op->out_f32 || op->epilogue == ECD_EPILOGUE_RESIDUAL;
    ecd_linear part = *op;
    if (w->scale_kind == ECD_SCALE_ROW)
        rows.scale = w->scale + first;
    if (w->scale_kind == ECD_SCALE_BLOCK)
        rows.scale = w->scale + first / ECD_SCALE_BLOCK_SIZE *
                                    ((w->cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE);
    part.w = &rows;
    part.x_again = op->x_again || first > 0;
    part.bias = op->bias ? op->bias + first : NULL;
    part.gate = op->gate ? op->gate + first : NULL;
    part.out_stride = ecd_stride_or(op->out_stride, w->rows);
    part.out = (char *)op->out + (size_t)first * (wide ? sizeof(float) : be->act_bytes);
    ecd_cuda_linear(be, &part);
}

static void multiply_elements(ecd_backend *be, const ecd_linear *op)
{
    const ecd_weight *w = op->w;
    int64_t most = ecd_cuda_chunk_rows(be, w->cols);
    for (int64_t first = 0; first < w->rows && ecd_backend_ok(be); first += most) {
        ecd_weight rows = *w;
        rows.data = (const char *)w->data + (size_t)(first * w->cols) * ecd_dtype_size(w->dtype);
        rows.rows = w->rows - first < most ? w->rows - first : most;
        multiply_rows(be, op, rows, first);
    }
}

static void multiply_chunks(ecd_backend *be, const ecd_linear *op, const ecd_coded_held *h)
{
    for (uint32_t i = 0; i < h->chunks && ecd_backend_ok(be); i++) {
        const char *data = ecd_cuda_chunk_decode(be, h, &h->used, i, false, ecd_dtype_size(h->dtype));
        ecd_weight rows = *op->w;
        rows.coded = NULL;
        rows.data = data;
        rows.dtype = h->dtype;
        rows.rows = ecd_cuda_chunk_height(h, i);
        if (data)
            multiply_rows(be, op, rows, i * h->chunk_rows);
        ecd_cuda_chunk_used(be);
    }
}

// All rows of all pictures at once: their bits do not depend on each other.
static void multiply_while_decoding(ecd_backend *be, const ecd_linear *op, const ecd_coded_held *h)
{
    ecd_cuda_stream *stream = ecd_cuda_stream_of(be);
    const int64_t rows = op->pictures * op->rows, stride = (h->rows + 3) / 4 * 4;
    const size_t partials = (size_t)(ecd_ecf8_product_bytes(&h->view, (uint64_t)h->cols, (uint32_t)rows) + 255) / 256 * 256;
    char *scratch = ecd_cuda_scratch(be, partials + ecd_cuda_piece(rows, stride, sizeof(float)));
    if (!scratch)
        return;
    const ecd_ecf8_product p = {.x = op->x,
                                .x_stride = (uint64_t)ecd_stride_or(op->x_stride, h->cols),
                                .sums_stride = (uint64_t)stride,
                                .rows = (uint32_t)rows,
                                .cols = (uint32_t)h->cols,
                                .channels = (uint32_t)h->rows,
                                .partials = scratch,
                                .sums = (float *)(void *)(scratch + partials)};
    int error = ecd_ecf8_multiply(&h->whole.plan, h->whole.there, &p, h->status, stream);
    if (ecd_cuda_done(be, "multiplying while decoding", error ? cudaGetErrorString((cudaError_t)error) : NULL))
        ecd_cuda_done(be, "linear: epilogue",
                      ecd_cuda_launch_epilogue(stream, true, op, 0, rows, p.sums, stride));
}

static bool multiplies_while_decoding(ecd_backend *be, const ecd_linear *op, const ecd_coded_held *h)
{
    const ecd_cuda_backend *cuda = ecd_cuda_of(be);
    const int64_t rows = op->pictures * op->rows;
    return h->multiplies && rows <= cuda->fused_rows &&
           ecd_ecf8_product_fits(&h->view, (uint64_t)h->cols, (uint32_t)rows, cuda->shared_bytes);
}

void ecd_cuda_linear_by_chunks(ecd_backend *be, const ecd_linear *op)
{
    if (!ecd_shape_linear(be, op) || op->pictures * op->rows == 0)
        return;
    ecd_coded_held *h = op->w->coded ? op->w->coded->held : NULL;
    if (op->w->coded && !h)
        ecd_backend_fail(be, ECD_USAGE, "backend cuda: ECF8 that was not given to the device");
    else if (!h)
        multiply_elements(be, op);
    else if (op->w->coded->check && !ecd_cuda_coded_check(be, h, op->w->coded))
        return;
    else if (multiplies_while_decoding(be, op, h))
        multiply_while_decoding(be, op, h);
    else
        multiply_chunks(be, op, h);
}
