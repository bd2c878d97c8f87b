#include "kernels/shape.h"

#include "kernels/coded.h"

// Sizes above this can only be a mistake; below it no product of two of them and an element size overflows.
static const int64_t size_max = (int64_t)1 << 30;

static bool fits(int64_t size)
{
    return size >= 0 && size <= size_max;
}

static bool refuse(ecd_backend *be, const char *what)
{
    ecd_backend_fail(be, ECD_USAGE, "%s", what);
    return false;
}

bool ecd_shape_weight(ecd_backend *be, const ecd_weight *w)
{
    if (!ecd_backend_ok(be))
        return false;
    if (w->dtype < ECD_F32 || w->dtype > ECD_E5M2) {
        ecd_backend_fail(be, ECD_USAGE, "weight of type %s, expected F32, F16, BF16 or FP8", ecd_dtype_name(w->dtype));
        return false;
    }
    if (!fits(w->rows) || !fits(w->cols) || w->rows < 1 || w->cols < 1) {
        ecd_backend_fail(be, ECD_USAGE, "weight of [%lld, %lld], expected sizes of at least 1", (long long)w->rows,
                         (long long)w->cols);
        return false;
    }
    if (!w->data || (unsigned)w->scale_kind > ECD_SCALE_BLOCK || (w->scale_kind != ECD_SCALE_NONE && !w->scale))
        return refuse(be, "weight without its data or scale");
    if (w->coded && (w->coded->dtype != w->dtype || w->coded->count != (uint64_t)(w->rows * w->cols)))
        return refuse(be, "weight whose ECF8 is of another type or size");
    return true;
}

bool ecd_shape_linear(ecd_backend *be, const ecd_linear *op)
{
    if (!ecd_shape_weight(be, op->w))
        return false;
    if (!fits(op->pictures) || !fits(op->rows) || !fits(op->pictures * op->rows))
        return refuse(be, "linear: pictures and rows out of range");
    if (ecd_stride_or(op->x_stride, op->w->cols) < op->w->cols || !fits(op->x_stride))
        return refuse(be, "linear: x_stride less than the input channels");
    if (ecd_stride_or(op->out_stride, op->w->rows) < op->w->rows || !fits(op->out_stride))
        return refuse(be, "linear: out_stride less than the output channels");
    if ((unsigned)op->epilogue >= ECD_EPILOGUE_COUNT)
        return refuse(be, "linear: unknown epilogue");
    if (op->epilogue == ECD_EPILOGUE_RESIDUAL && op->gate && (op->gate_rows < 1 || !fits(op->gate_stride)))
        return refuse(be, "linear: gate_rows and gate_stride must be given with a gate");
    return true;
}

bool ecd_shape_norm(ecd_backend *be, const ecd_norm *op)
{
    if (!ecd_backend_ok(be))
        return false;
    if (!fits(op->rows) || !fits(op->cols) || op->cols < 1)
        return refuse(be, "norm: rows or cols out of range");
    if ((op->shift || op->scale) && (op->group_rows < 1 || !fits(op->mod_stride)))
        return refuse(be, "norm: group_rows and mod_stride must be given with a modulation");
    return true;
}

bool ecd_shape_attention(ecd_backend *be, const ecd_attention *op)
{
    if (!ecd_backend_ok(be))
        return false;
    if (!fits(op->batch) || !fits(op->heads) || op->heads < 1 || op->head_dim < 1 || op->head_dim > 512)
        return refuse(be, "attention: batch or heads out of range, or a head of more than 512 channels");
    if (!fits(op->q_tokens) || !fits(op->kv_tokens) || op->kv_tokens < 1)
        return refuse(be, "attention: tokens out of range");
    int64_t width = op->heads * op->head_dim;
    if (ecd_stride_or(op->q_stride, width) < width || ecd_stride_or(op->k_stride, width) < width ||
        ecd_stride_or(op->v_stride, width) < width || ecd_stride_or(op->out_stride, width) < width)
        return refuse(be, "attention: a stride less than heads * head_dim");
    return true;
}

bool ecd_shape_rope(ecd_backend *be, const ecd_rope *op)
{
    if (!ecd_backend_ok(be))
        return false;
    if (!fits(op->batch) || !fits(op->tokens) || !fits(op->batch * op->tokens) || !fits(op->heads))
        return refuse(be, "rope: batch, tokens or heads out of range");
    if (op->head_dim < 2 || op->head_dim > ECD_ROPE_MAX_HEAD || op->head_dim % 2)
        return refuse(be, "rope: expected heads of an even number of channels up to 512");
    if (ecd_stride_or(op->stride, op->heads * op->head_dim) < op->heads * op->head_dim)
        return refuse(be, "rope: a stride less than heads * head_dim");
    return true;
}

bool ecd_shape_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count)
{
    if (!ecd_shape_weight(be, table))
        return false;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] >= 0 && ids[i] < table->rows)
            continue;
        ecd_backend_fail(be, ECD_USAGE, "row %lld of an embedding table, expected 0 to %lld", (long long)ids[i],
                         (long long)table->rows - 1);
        return false;
    }
    return fits(count) || refuse(be, "add_rows: count out of range");
}

bool ecd_shape_patches(ecd_backend *be, int64_t batch, int64_t channels, int64_t height, int64_t width, int patch)
{
    if (!ecd_backend_ok(be))
        return false;
    if (!fits(batch) || !fits(channels) || !fits(height) || !fits(width) || patch < 1 || height % patch ||
        width % patch) {
        ecd_backend_fail(be, ECD_USAGE, "latents of %lldx%lld, expected multiples of the patch size %d",
                         (long long)width, (long long)height, patch);
        return false;
    }
    return true;
}

bool ecd_shape_combine(ecd_backend *be, const ecd_combine *op)
{
    if (!ecd_backend_ok(be))
        return false;
    if (op->terms < 1 || op->terms > ECD_COMBINE_MAX || !fits(op->count))
        return refuse(be, "combine: terms or count out of range");
    for (int i = 0; i < op->terms; i++)
        if (!op->x[i])
            return refuse(be, "combine: a term without its values");
    return true;
}

bool ecd_shape_pixels(ecd_backend *be, int64_t channels, int64_t pixels)
{
    if (!ecd_backend_ok(be))
        return false;
    return (fits(channels) && fits(pixels)) || refuse(be, "picture: channels or pixels out of range");
}

bool ecd_shape_conv_weight(ecd_backend *be, const ecd_conv_shape *s, const ecd_weight *w)
{
    if (!ecd_shape_weight(be, w))
        return false;
    if ((s->kernel != 1 && s->kernel != 3) || (s->stride != 1 && s->stride != 2) || s->pad_before < 0 ||
        s->pad_after < 0 || s->pad_before >= s->kernel || s->pad_after >= s->kernel)
        return refuse(be, "convolution: expected a kernel of 1 or 3, a stride of 1 or 2, padding less than the kernel");
    if (w->rows != s->out_channels || w->cols != s->in_channels * s->kernel * s->kernel)
        return refuse(be, "convolution: the weight's shape is not that of its channels and kernel");
    return true;
}

bool ecd_shape_conv(ecd_backend *be, const ecd_conv_shape *s, const ecd_conv *op)
{
    if (!ecd_backend_ok(be))
        return false;
    int64_t grow = op->upsample ? 2 : 1;
    if (!fits(op->height) || !fits(op->width) || !fits(op->height * op->width) || op->height < 1 || op->width < 1)
        return refuse(be, "convolution: height or width out of range");
    if (op->height * grow + s->pad_before + s->pad_after < s->kernel ||
        op->width * grow + s->pad_before + s->pad_after < s->kernel)
        return refuse(be, "convolution: a picture smaller than the kernel");
    int64_t out_height = ecd_conv_out(s, op->height * grow);
    if (op->first_row < 0 || op->rows < 0 || op->first_row > out_height || op->rows > out_height - op->first_row)
        return refuse(be, "convolution: rows that the result does not have");
    if (ecd_stride_or(op->x_stride, s->in_channels) < s->in_channels || !fits(op->x_stride) ||
        ecd_stride_or(op->residual_stride, s->out_channels) < s->out_channels || !fits(op->residual_stride) ||
        ecd_stride_or(op->out_stride, s->out_channels) < s->out_channels || !fits(op->out_stride))
        return refuse(be, "convolution: a stride less than the channels");
    if (op->norm && (!op->norm->measured || !op->norm->gamma || !op->norm->beta))
        return refuse(be, "convolution: a norm that was not measured");
    return true;
}

bool ecd_shape_group_norm(ecd_backend *be, const ecd_group_norm *op)
{
    if (!ecd_backend_ok(be))
        return false;
    if (!fits(op->pixels) || !fits(op->channels) || op->channels < 1 || op->groups < 1 || op->channels % op->groups) {
        ecd_backend_fail(be, ECD_USAGE, "group norm: %lld channels in %lld groups, expected a whole number each",
                         (long long)op->channels, (long long)op->groups);
        return false;
    }
    if (ecd_stride_or(op->x_stride, op->channels) < op->channels || !fits(op->x_stride))
        return refuse(be, "group norm: a stride less than the channels");
    return true;
}
