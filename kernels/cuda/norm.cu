// LayerNorm and RMSNorm with modulation, and rotary embedding with RMSNorm.
//
// A warp has a short row or a head, a block a longer row, which stays in registers from the sums to the output: it is read
// once. Rows that do not fit, and those that vectors cannot be loaded from, are read again for each sum.
//
// Threads take quads of neighbours in turn, whatever the alignment and the rows beside, so the order of a row's sums follows
// from its length alone: a chain a thread, a butterfly a warp, a chain over the warps.
#include "kernels/cuda/strips.cuh"

enum { QUAD = 4, SHORT = 512, ROWS = 4 }; // neighbours; columns up to which a warp has a row; such rows of a block
enum { WARPS = 4, THREADS = WARPS * ECD_WARP, MOST_QUADS = 8 }; // of a block; quads of a thread that stay in registers

// ---------------------------------------------------------------- sums

// The sum over a row's threads, the same in all of them. shared: a word a warp.
template <int ROW_WARPS> static __device__ __forceinline__ float row_sum(float v, float *shared)
{
    v = ecd_warp_sum(v);
    if (ROW_WARPS == 1)
        return v;
    if (threadIdx.x % ECD_WARP == 0)
        shared[threadIdx.x / ECD_WARP] = v;
    __syncthreads();
    v = shared[0];
    for (int warp = 1; warp < ROW_WARPS; warp++)
        v += shared[warp];
    return v;
}

// `count`: of the quad that are there.
static __device__ __forceinline__ float add_quad(const float (&v)[QUAD], int count, float sum)
{
    for (int i = 0; i < QUAD; i++)
        sum = i < count ? sum + v[i] : sum;
    return sum;
}

static __device__ __forceinline__ float add_squares(const float (&v)[QUAD], int count, float mean, float sum)
{
    for (int i = 0; i < QUAD; i++)
        sum = i < count ? fmaf(v[i] - mean, v[i] - mean, sum) : sum;
    return sum;
}

static __device__ __forceinline__ float inverse_of(const ecd_norm &op, float squares)
{
    return 1.0f / sqrtf(squares / (float)(int)op.cols + op.eps);
}

// Where the row's vectors of modulation begin.
static __device__ __forceinline__ int64_t modulation_of(const ecd_norm &op, int64_t row)
{
    return op.group_rows ? (uint32_t)row / (uint32_t)op.group_rows * op.mod_stride : 0;
}

// ---------------------------------------------------------------- rows in registers

// What is not there multiplies by one and adds -0, which changes no bit.
static __device__ __forceinline__ void load_or(const float *x, int c, float value, float (&v)[QUAD])
{
    for (int i = 0; i < QUAD; i++)
        v[i] = value;
    if (x)
        ecd_load_strip(x + c, v);
}

// Rows of up to QUADS quads a thread, aligned. LEARNED: there may be gamma and beta, and there need not be scale and shift.
template <typename Act, int ROW_WARPS, int QUADS, bool LEARNED> static __global__ void norm(ecd_norm op)
{
    __shared__ float shared[2][ROW_WARPS];
    const int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= op.rows) // a whole warp, or none of the block
        return;
    enum { STEP = ROW_WARPS * ECD_WARP * QUAD };
    const int cols = (int)op.cols, first = (int)threadIdx.x * QUAD;
    const float *x = op.x + row * op.cols + first;
    float v[QUADS][QUAD], scale[QUADS][QUAD], shift[QUADS][QUAD], mean = 0, sum = 0;
#pragma unroll
    for (int q = 0; q < QUADS; q++)
        if (first + q * STEP < cols)
            ecd_load_strip(x + q * STEP, v[q]);
    const int64_t modulation = modulation_of(op, row);
#pragma unroll
    for (int q = 0; q < QUADS; q++)
        if (!LEARNED && first + q * STEP < cols) { // on their way while the sums are made
            ecd_load_strip(op.scale + modulation + first + q * STEP, scale[q]);
            ecd_load_strip(op.shift + modulation + first + q * STEP, shift[q]);
        }
    if (!op.rms) {
#pragma unroll
        for (int q = 0; q < QUADS; q++)
            if (first + q * STEP < cols)
                sum = add_quad(v[q], QUAD, sum);
        mean = row_sum<ROW_WARPS>(sum, shared[0]) / (float)cols;
    }
    sum = 0;
#pragma unroll
    for (int q = 0; q < QUADS; q++)
        if (first + q * STEP < cols)
            sum = add_squares(v[q], QUAD, mean, sum);
    const float inverse = inverse_of(op, row_sum<ROW_WARPS>(sum, shared[1]));
    Act *out = (Act *)op.out + row * op.cols + first;
#pragma unroll
    for (int q = 0; q < QUADS; q++) {
        const int c = first + q * STEP;
        if (c >= cols)
            break;
        float gamma[QUAD], beta[QUAD];
        if (LEARNED) {
            load_or(op.gamma, c, 1.0f, gamma);
            load_or(op.beta, c, -0.0f, beta);
            load_or(op.scale ? op.scale + modulation : NULL, c, 0.0f, scale[q]);
            load_or(op.shift ? op.shift + modulation : NULL, c, -0.0f, shift[q]);
        }
        for (int i = 0; i < QUAD; i++) {
            v[q][i] = (v[q][i] - mean) * inverse;
            if (LEARNED)
                v[q][i] = v[q][i] * gamma[i] + beta[i];
            v[q][i] = v[q][i] * (1.0f + scale[q][i]) + shift[q][i];
        }
        ecd_store_strip(out + q * STEP, v[q]);
    }
}

// ---------------------------------------------------------------- any rows

static __device__ __forceinline__ int load_some(const float *x, int c, int cols, float (&v)[QUAD])
{
    const int count = cols - c < QUAD ? cols - c : (int)QUAD;
    for (int i = 0; i < count; i++)
        v[i] = x[c + i];
    return count;
}

template <typename Act, int ROW_WARPS> static __global__ void norm_any(ecd_norm op)
{
    __shared__ float shared[2][ROW_WARPS];
    const int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= op.rows)
        return;
    enum { STEP = ROW_WARPS * ECD_WARP * QUAD };
    const int cols = (int)op.cols, first = (int)threadIdx.x * QUAD;
    const float *x = op.x + row * op.cols;
    float v[QUAD] = {}, sum = 0, mean = 0;
    if (!op.rms) {
        for (int c = first; c < cols; c += STEP)
            sum = add_quad(v, load_some(x, c, cols, v), sum);
        mean = row_sum<ROW_WARPS>(sum, shared[0]) / (float)cols;
    }
    sum = 0;
    for (int c = first; c < cols; c += STEP)
        sum = add_squares(v, load_some(x, c, cols, v), mean, sum);
    const float inverse = inverse_of(op, row_sum<ROW_WARPS>(sum, shared[1]));
    const int64_t modulation = modulation_of(op, row);
    for (int c = threadIdx.x; c < cols; c += ROW_WARPS * ECD_WARP) {
        float y = (x[c] - mean) * inverse;
        y = op.gamma ? y * op.gamma[c] : y;
        y = op.beta ? y + op.beta[c] : y;
        y = op.scale ? y * (1.0f + op.scale[modulation + c]) : y;
        y = op.shift ? y + op.shift[modulation + c] : y;
        ecd_store((Act *)op.out + row * op.cols, c, y);
    }
}

// ---------------------------------------------------------------- launching

template <typename Act, int ROW_WARPS, int QUADS> static void launch_quads(ecd_cuda_stream *stream, const ecd_norm &op)
{
    const dim3 block(ROW_WARPS * ECD_WARP, ROW_WARPS == 1 ? ROWS : 1), grid(ecd_cover(op.rows, block.y));
    if (op.gamma || op.beta || !op.scale || !op.shift)
        ECD_RUN((norm<Act, ROW_WARPS, QUADS, true>), grid, block, 0, stream, op);
    else
        ECD_RUN((norm<Act, ROW_WARPS, QUADS, false>), grid, block, 0, stream, op);
}

static bool in_quads(const ecd_norm &op, size_t out_bytes)
{
    const bool modulated = op.scale || op.shift;
    return op.cols % QUAD == 0 && op.cols <= MOST_QUADS * QUAD * THREADS && ecd_floats_lie(op.x, 0) &&
           ecd_floats_lie(op.gamma, 0) && ecd_floats_lie(op.beta, 0) && ecd_floats_lie(op.scale, 0) &&
           ecd_floats_lie(op.shift, 0) && (!modulated || op.mod_stride % QUAD == 0) &&
           ecd_lies_at(op.out, 0, out_bytes, QUAD * out_bytes);
}

template <typename Act> static const char *launch_norm(ecd_cuda_stream *stream, const ecd_norm &op)
{
    const int64_t quads = (op.cols + QUAD * THREADS - 1) / (QUAD * THREADS); // of a thread of a whole block
    const bool small = op.cols <= SHORT;
    if (in_quads(op, sizeof(Act))) {
        if (small)
            launch_quads<Act, 1, SHORT / (QUAD * ECD_WARP)>(stream, op);
        else if (quads <= 3)
            launch_quads<Act, WARPS, 3>(stream, op);
        else if (quads <= 6)
            launch_quads<Act, WARPS, 6>(stream, op);
        else
            launch_quads<Act, WARPS, MOST_QUADS>(stream, op);
    } else if (small) {
        ECD_RUN((norm_any<Act, 1>), ecd_cover(op.rows, ROWS), dim3(ECD_WARP, ROWS), 0, stream, op);
    } else {
        ECD_RUN((norm_any<Act, WARPS>), (unsigned)op.rows, THREADS, 0, stream, op);
    }
    return ecd_launch_error();
}

const char *ecd_cuda_launch_norm(ecd_cuda_stream *stream, bool narrow, const ecd_norm *op)
{
    ecd_norm own = *op;
    own.group_rows = op->group_rows < INT32_MAX ? op->group_rows : INT32_MAX; // more than there are
    return narrow ? launch_norm<ecd_bf16_bits>(stream, own) : launch_norm<float>(stream, own);
}

// ---------------------------------------------------------------- rotary embedding

// A head's two pairs from channel c on, zeros where there are no more.
template <bool ALIGNED, typename Act>
static __device__ __forceinline__ void load_pairs(const Act *x, int c, int dim, float (&v)[QUAD])
{
    for (int i = 0; i < QUAD; i++)
        v[i] = 0;
    if (ALIGNED) {
        if (c < dim)
            ecd_load_strip(x + c, v);
    } else {
        for (int i = 0; i < QUAD; i++)
            if (c + i < dim)
                v[i] = ecd_load(x, c + i);
    }
}

// A warp a head of a token, whose lanes take two pairs at a time.
template <typename Act, bool ALIGNED> static __global__ void rope(ecd_rope op)
{
    const int64_t row = blockIdx.x, head = (int64_t)blockIdx.y * WARPS + threadIdx.y;
    if (head >= op.heads) // a whole warp
        return;
    Act *x = (Act *)op.x + row * op.stride + head * op.head_dim;
    const int dim = (int)op.head_dim, first = (int)threadIdx.x * QUAD;
    const int64_t table = (uint32_t)row % (uint32_t)op.tokens * (op.head_dim / 2);
    const float *cosine = op.cosine + table, *sine = op.sine + table;
    enum { STEP = ECD_WARP * QUAD, MOST = ECD_ROPE_MAX_HEAD / STEP };
    float v[MOST][QUAD], sum = 0, inverse = 1;
#pragma unroll
    for (int q = 0; q < MOST; q++)
        load_pairs<ALIGNED>(x, first + q * STEP, dim, v[q]);
    if (op.gamma) {
#pragma unroll
        for (int q = 0; q < MOST; q++)
            for (int i = 0; i < QUAD; i++)
                sum = fmaf(v[q][i], v[q][i], sum);
        inverse = 1.0f / sqrtf(ecd_warp_sum(sum) / (float)dim + op.eps);
    }
#pragma unroll
    for (int q = 0; q < MOST; q++) {
        const int c = first + q * STEP;
        if (c >= dim)
            break;
        float gamma[QUAD], by[2][QUAD / 2] = {};
        if (op.gamma)
            load_pairs<ALIGNED>(op.gamma, c, dim, gamma);
        for (int i = 0; op.gamma && i < QUAD; i++)
            v[q][i] = v[q][i] * inverse * gamma[i];
        if (ALIGNED) {
            ecd_load_strip(cosine + c / 2, by[0]);
            ecd_load_strip(sine + c / 2, by[1]);
        } else {
            for (int i = 0; i < QUAD / 2 && c + 2 * i < dim; i++)
                by[0][i] = cosine[c / 2 + i], by[1][i] = sine[c / 2 + i];
        }
        float turned[QUAD];
        for (int i = 0; i < QUAD / 2; i++) {
            const float a = v[q][2 * i], b = v[q][2 * i + 1];
            turned[2 * i] = a * by[0][i] - b * by[1][i];
            turned[2 * i + 1] = b * by[0][i] + a * by[1][i];
        }
        if (ALIGNED) {
            ecd_store_strip(x + c, turned);
        } else {
            for (int i = 0; i < QUAD; i++)
                if (c + i < dim)
                    ecd_store(x, c + i, turned[i]);
        }
    }
}

template <typename Act> static const char *launch_rope(ecd_cuda_stream *stream, const ecd_rope &op)
{
    const dim3 grid((unsigned)(op.batch * op.tokens), ecd_cover(op.heads, WARPS)), block(ECD_WARP, WARPS);
    const size_t two = 2 * sizeof(float);
    if (op.head_dim % QUAD == 0 && ecd_lies_at(op.x, op.stride, sizeof(Act), QUAD * sizeof(Act)) &&
        ecd_floats_lie(op.gamma, 0) && ecd_lies_at(op.cosine, 0, 1, two) && ecd_lies_at(op.sine, 0, 1, two))
        ECD_RUN((rope<Act, true>), grid, block, 0, stream, op);
    else
        ECD_RUN((rope<Act, false>), grid, block, 0, stream, op);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_rope(ecd_cuda_stream *stream, bool narrow, const ecd_rope *op)
{
    ecd_rope dense = *op;
    dense.stride = op->stride ? op->stride : op->heads * op->head_dim;
    return narrow ? launch_rope<ecd_bf16_bits>(stream, dense) : launch_rope<float>(stream, dense);
}
