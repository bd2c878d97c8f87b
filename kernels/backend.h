// What computes: the operations that dit/, vae/ and text/ call, and the backends that offer them.
//
// Two kinds of floating-point buffers pass through the operations, both dense and row-major in the backend's memory:
//   f32   residual streams, modulation vectors, biases, latents: always float;
//   act   activations between operations: float in f32 compute, BF16 in bf16 compute (act_bytes each).
// Sums, normalisations, softmax and residuals are f32 in both. Weights come as views in the type that they are stored
// in and are widened by the operation that uses them.
//
// Operations return nothing: the first failure (a shape that cannot be, a library or device error) is kept in the
// backend, later operations do nothing, and ecd_backend_check reports it. Call it once a step at least.
//
// Invariants (docs/NUMERICS.md): the result of a picture does not depend on the other pictures of a call, nor on the
// number of threads, nor on which of the weight's storage forms holds the same values.
#ifndef ECD_KERNELS_BACKEND_H
#define ECD_KERNELS_BACKEND_H

#include "base/dtype.h"
#include "base/status.h"

typedef enum ecd_compute {
    ECD_COMPUTE_AUTO = 0, // bf16 where the machine multiplies it faster, f32 otherwise
    ECD_COMPUTE_F32,
    ECD_COMPUTE_BF16,
    ECD_COMPUTE_FP8, // bf16, but that weights in E4M3 meet activations in E4M3: on devices of compute capability 8.9, if asked for
} ecd_compute;

// How the scales of a weight apply. A weight's value is its stored value times its scale.
typedef enum ecd_scale_kind {
    ECD_SCALE_NONE = 0,
    ECD_SCALE_TENSOR, // scale[0]
    ECD_SCALE_ROW,    // scale[row], one an output channel; applied after the product, as is the tensor's
    ECD_SCALE_BLOCK,  // scale[row / 128][col / 128], ceil(cols / 128) a row of blocks; applied when the block is widened
} ecd_scale_kind;

enum { ECD_SCALE_BLOCK_SIZE = 128 };

typedef struct ecd_coded ecd_coded; // kernels/coded.h
typedef struct ecd_coded_held ecd_coded_held; // a backend's own form of one

// A weight matrix [rows, cols] = [output channels, input channels], row-major, lent by the store until its release. It
// has one of two forms: elements, or ECF8 of the same elements, of which an operation decodes what it uses (linear: a slice
// of output channels at a time, by the thread that multiplies it). Backends whose memory is the host's take both in every
// operation; others take ECF8 that they hold (coded_hold) in linear and add_rows, and elements.
typedef struct ecd_weight {
    ecd_dtype dtype;  // of the elements: ECD_F32, ECD_F16, ECD_BF16, ECD_E4M3 or ECD_E5M2
    const void *data; // backend memory: elements, or with `coded` the coded bytes (of which a device holds its own copy)
    int64_t rows, cols;
    ecd_scale_kind scale_kind;
    const float *scale; // backend memory; NULL for ECD_SCALE_NONE
    ecd_coded *coded;   // NULL: data are elements. What is proven of it by using it is noted in it
} ecd_weight;

typedef enum ecd_epilogue {
    ECD_EPILOGUE_NONE = 0,
    ECD_EPILOGUE_GELU_TANH, // 0.5 v (1 + tanh(sqrt(2/pi) (v + 0.044715 v^3)))
    ECD_EPILOGUE_SILU,      // v / (1 + exp(-v))
    ECD_EPILOGUE_RESIDUAL,  // out (f32) += gate * v, or += v where gate is NULL
    ECD_EPILOGUE_QUICK_GELU, // v / (1 + exp(-1.702 v)), CLIP's
    ECD_EPILOGUE_MULTIPLY,   // out *= v: the second half of a gated feed-forward, onto the activated first
    ECD_EPILOGUE_COUNT
} ecd_epilogue;

// out[p][r][n] = epilogue(sum_k x[p][r][k] w[n][k] + bias[n]), for `pictures` independent pictures of `rows` rows each.
// A product is formed a picture at a time, so that a picture's bits do not depend on the batch.
typedef struct ecd_linear {
    const ecd_weight *w;
    const float *bias;   // [w->rows] or NULL
    int64_t pictures, rows;
    const void *x;       // act [pictures, rows, w->cols], rows x_stride apart
    int64_t x_stride;    // elements; 0 means w->cols
    void *out;           // [pictures, rows, w->rows], rows out_stride apart; act, or f32 if out_f32 or RESIDUAL
    int64_t out_stride;  // elements; 0 means w->rows
    bool out_f32;
    ecd_epilogue epilogue;
    const float *gate;   // RESIDUAL: f32, one vector of w->rows a group of gate_rows rows (over all pictures), or NULL
    int64_t gate_rows;   // rows that share a gate vector
    int64_t gate_stride; // elements from one gate vector to the next
    bool x_again; // x, its shape and stride, and what it holds, are those of the linear called last: what a backend made of x
                  // may serve again. Never needed, and changes no bit
} ecd_linear;

// out[r] = (LayerNorm(x[r]) * gamma + beta) * (1 + scale[g]) + shift[g], g = r / group_rows; variance biased. Each of
// scale, shift (diffusers: AdaLayerNormZero, models/normalization.py), gamma and beta (learned) may be NULL. With `rms`
// nothing is subtracted and the mean square divides (RMSNorm, arXiv 1910.07467, as T5 has it).
typedef struct ecd_norm {
    const float *x; // f32 [rows, cols]
    int64_t rows, cols;
    float eps;
    const float *shift, *scale; // f32 [rows / group_rows] vectors of cols, mod_stride elements apart
    int64_t group_rows, mod_stride;
    void *out; // act [rows, cols]
    const float *gamma, *beta; // f32 [cols]
    bool rms;
} ecd_norm;

// out = softmax(q k^T * scale + bias) v for each of `batch` sequences and `heads` heads. With `causal` a token sees those
// up to itself alone. The bias depends on the distance of two tokens (T5: transformers models/t5/modeling_t5.py).
// q, k, v, out: act [batch, tokens, heads * head_dim] with rows *_stride elements apart (0: dense), so that views into
// a joint projection work. Memory beside the operands is O(tokens), never tokens x tokens.
typedef struct ecd_attention {
    int64_t batch, heads, head_dim;
    int64_t q_tokens, kv_tokens;
    const void *q, *k, *v;
    int64_t q_stride, k_stride, v_stride;
    void *out;
    int64_t out_stride;
    float scale;
    bool causal;
    const float *distance_bias; // f32 [heads, q_tokens + kv_tokens - 1]: of key k and query q at k - q + q_tokens - 1, or NULL
} ecd_attention;

// Rotary position embedding (arXiv 2104.09864) of queries or keys, in place: each neighbouring pair (a, b) of a head's
// channels becomes (a cos - b sin, b cos + a sin). With gamma each head is first divided by its root mean square and
// multiplied by it (the RMSNorm of q and k in diffusers' FluxAttention; apply_rotary_emb of models/embeddings.py).
typedef struct ecd_rope {
    void *x; // act [batch, tokens, heads * head_dim], rows `stride` elements apart (0: dense)
    int64_t batch, tokens, heads, head_dim, stride; // head_dim: even, at most ECD_ROPE_MAX_HEAD
    const float *cosine, *sine; // f32 [tokens, head_dim / 2], the same for each of the batch
    const float *gamma;         // f32 [head_dim] or NULL
    float eps;
} ecd_rope;

enum { ECD_ROPE_MAX_HEAD = 512 };

// A convolution's weights in the backend's own layout, made once by conv_prepare.
typedef struct ecd_conv_weight ecd_conv_weight;

typedef struct ecd_conv_shape {
    int64_t in_channels, out_channels;
    int kernel; // square: 1 or 3
    int stride; // 1 or 2
    int pad_before, pad_after; // zeros on the top and left, and on the bottom and right
} ecd_conv_shape;

// out = GroupNorm(x) * gamma + beta, then SiLU if silu; one picture, channels last; variance biased.
typedef struct ecd_group_norm {
    const void *x; // act [pixels, channels], pixels x_stride apart
    int64_t pixels, channels, groups;
    int64_t x_stride; // elements; 0 means channels
    float eps;
    const float *gamma, *beta; // f32 [channels]
    bool silu;
    void *out;      // act [pixels, channels], dense; may be x where that is dense too
    void *measured; // group_measure's result: ECD_MEASURED_BYTES a channel, in the backend's own form
} ecd_group_norm;

enum { ECD_MEASURED_BYTES = 16 };

// out = conv(upsample? nearest x2 of x' : x') + bias (+ residual), one picture, channels last. x' is x, or what
// group_norm makes of x, to the bit, without memory for it.
typedef struct ecd_conv {
    const ecd_conv_weight *w;
    int64_t height, width; // of x
    const void *x;         // act [height, width, in_channels], pixels x_stride apart
    bool upsample;         // nearest neighbour, factor 2 both ways, before the convolution
    const void *residual;  // act [out_height, out_width, out_channels], pixels residual_stride apart, or NULL; may be out
    void *out;             // act [out_height, out_width, out_channels], or f32 if out_f32; pixels out_stride apart
    bool out_f32;
    int64_t x_stride, residual_stride, out_stride; // elements; 0 means the channels: dense
    int64_t first_row, rows;    // only these rows of out are computed (and of residual read); rows 0: all
    const ecd_group_norm *norm; // NULL, or x is to be normalised: gamma, beta, silu and measured are read
} ecd_conv;

// out[i] = (by[0] x[0][i] + by[1] x[1][i] + ...) / divisor + offset, held within -limit..limit: what samplers do to latents.
// Each product, sum and quotient is rounded by itself, in this order, so that every backend gives the same bits.
enum { ECD_COMBINE_MAX = 4 };
typedef struct ecd_combine {
    int terms;                       // 1 to ECD_COMBINE_MAX
    const float *x[ECD_COMBINE_MAX]; // f32 [count] each; each may be out
    float by[ECD_COMBINE_MAX];
    float divisor; // 1: none
    float offset;  // 0: none
    float limit;   // 0 or infinity: none. NaN passes
    float *out;    // f32 [count]
    int64_t count;
} ecd_combine;

typedef struct ecd_backend ecd_backend;

// ECF8 of one block of a model, decoded by the backend. Weights come out in their own type, as libecf8 decodes them, or E4M3 and
// E5M2 as BF16 (`wide`, the same in all parts of a plan, none of which is F16 then), at out + out_offset_bytes (a multiple of 64).
struct ecf8_published; // codec/published.h
typedef struct ecd_decode_part {
    const void *blob; // a container: host memory, checked by its owner; needed only during decode_prepare
    size_t blob_bytes, out_offset_bytes;
    const struct ecf8_published *group; // or a published group, likewise; NULL with a blob
    // Backend memory, aligned to 64, that will hold the part (as ecd_decode_part_lay puts it) whenever it is decoded; NULL:
    // decode_prepare copies it into memory of the plan's own.
    const void *there;
    bool wide;
} ecd_decode_part;
typedef struct ecd_decode_plan ecd_decode_plan;

// What a device does side by side, each in order: operations (with uploads, downloads and copies), decoding, and sending
// from pinned host memory. A mark orders one after another: the host waits for none.
typedef enum ecd_queue { ECD_QUEUE_COMPUTE, ECD_QUEUE_DECODE, ECD_QUEUE_SEND, ECD_QUEUES } ecd_queue;
typedef struct ecd_mark ecd_mark;

// A device's memory, in bytes.
typedef struct ecd_device_memory {
    uint64_t used, peak; // by this backend: now, and at most so far
    uint64_t scratch;    // of `used`: what operations work in, which grows to the largest need and stays
    uint64_t free;       // that it could still have
} ecd_device_memory;

typedef struct ecd_backend_ops {
    // Memory. alloc returns NULL (and keeps the failure) when memory is out; aligned to 64 bytes.
    void *(*alloc)(ecd_backend *be, size_t size_bytes);
    void (*free)(ecd_backend *be, void *memory);
    void (*upload)(ecd_backend *be, void *to, const void *from_host, size_t size_bytes);
    void (*download)(ecd_backend *be, void *to_host, const void *from, size_t size_bytes);
    void (*copy)(ecd_backend *be, void *to, const void *from, size_t size_bytes);
    // Waits for a device's queue, whose faults are kept as failures; NULL where operations are done when they return.
    void (*wait)(ecd_backend *be);
    // to = the weight's elements in their own type, rows * cols of them, whatever its form; NULL where memory is not the host's.
    void (*expand)(ecd_backend *be, const ecd_weight *w, void *to);

    void (*linear)(ecd_backend *be, const ecd_linear *op);
    void (*norm)(ecd_backend *be, const ecd_norm *op);
    void (*attention)(ecd_backend *be, const ecd_attention *op);
    void (*rope)(ecd_backend *be, const ecd_rope *op);
    // out (act) = x (f32), SiLU applied if silu; count elements.
    void (*to_act)(ecd_backend *be, const float *x, int64_t count, bool silu, void *out);
    // out (f32) = x (act); count elements.
    void (*to_f32)(ecd_backend *be, const void *x, int64_t count, float *out);
    // out[i] (f32) += row ids[i] of the table, for count rows of table->cols. ids lie in host memory and are checked.
    void (*add_rows)(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out);

    // latents f32 [batch, channels, height, width] -> act [batch, (height/p)(width/p), channels p p], a patch's vector
    // in the order (channel, row, column), as a convolution of stride p sees it.
    void (*patchify)(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                     int patch, void *out);
    // f32 [batch, (height/p)(width/p), p p channels] -> f32 [batch, channels, height, width]. A patch's vector is in the order
    // (row, column, channel), as DiTTransformer2DModel's "nhwpqc->nchpwq" takes it, or, channels_first, in that of patchify, as
    // FluxPipeline's _unpack_latents does.
    void (*unpatchify)(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                       int patch, bool channels_first, float *out);
    void (*combine)(ecd_backend *be, const ecd_combine *op);
    // f32 [channels, pixels] -> bytes [pixels, channels]: x / 2 + 0.5, held within 0..1, times 255, rounded, ties to even; NaN
    // gives 0. diffusers: image_processor.py, denormalize and numpy_to_pil.
    void (*to_bytes)(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out);

    // w: [out_channels, in_channels * kernel * kernel] in torch's order (in, row, column); bias f32 [out_channels] or NULL,
    // both in backend memory and needed only during the call. NULL on failure (kept).
    ecd_conv_weight *(*conv_prepare)(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w, const float *bias);
    void (*conv_free)(ecd_backend *be, ecd_conv_weight *w);
    void (*conv)(ecd_backend *be, const ecd_conv *op);
    void (*group_norm)(ecd_backend *be, const ecd_group_norm *op);
    // Mean and variance of the groups of x, into measured; out is not touched.
    void (*group_measure)(ecd_backend *be, const ecd_group_norm *op);
    // f32 [channels, pixels] -> act [pixels, channels], and act or f32 [pixels, channels] -> f32 [channels, pixels].
    void (*to_channels_last)(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out);
    void (*to_channels_first)(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out);

    // What follows is a device's; all NULL where memory is the host's.
    //
    // to (BF16) = the weight's elements without its scales, of a type of 8 bits.
    void (*widen)(ecd_backend *be, const ecd_weight *w, void *to);

    // Decoding where the weights lie, beside the operations. Plans outlive no backend.
    // decode begins once the operations called before it are done, and writes `out` (backend memory); those called after
    // decode_join see it. With `verify` each tile's CRC is compared, and decode waits: the first damaged part, or -1.
    ecd_decode_plan *(*decode_prepare)(ecd_backend *be, const ecd_decode_part *parts, int count); // NULL: failure kept
    void (*decode_free)(ecd_backend *be, ecd_decode_plan *plan); // NULL is allowed
    int (*decode)(ecd_backend *be, ecd_decode_plan *plan, void *out, bool verify);
    void (*decode_join)(ecd_backend *be, ecd_decode_plan *plan);
    // Memory that a plan of these parts takes; with `there` as if all parts were there already. 0: failure kept.
    uint64_t (*decode_bytes)(ecd_backend *be, const ecd_decode_part *parts, int count, bool there);

    // Host memory that the device reads at the bus's full speed; NULL on failure (kept).
    void *(*pin)(ecd_backend *be, size_t size_bytes);
    void (*unpin)(ecd_backend *be, void *memory); // waits for what is sent from it; NULL is allowed
    // to (backend memory) = from (pinned), on ECD_QUEUE_SEND.
    void (*send)(ecd_backend *be, void *to, const void *from, size_t size_bytes);
    ecd_mark *(*mark_new)(ecd_backend *be); // NULL: failure kept
    void (*mark_free)(ecd_backend *be, ecd_mark *mark); // NULL is allowed
    // The mark is reached once all that was called on the queue before is done. What is called on a queue after mark_await
    // begins then, at the place where the mark was set last; at once if it never was.
    void (*mark_set)(ecd_backend *be, ecd_mark *mark, ecd_queue queue);
    void (*mark_await)(ecd_backend *be, ecd_mark *mark, ecd_queue queue);

    void (*device_memory)(ecd_backend *be, ecd_device_memory *out);
    // Scratch that linear takes at most for a weight of this type and shape (its data is not looked at) and so many rows of a
    // picture; and conv for an operation of which w, pointers and norm's fields are not looked at (norm: whether there is one).
    uint64_t (*linear_scratch)(ecd_backend *be, const ecd_weight *w, int64_t rows);
    uint64_t (*conv_scratch)(ecd_backend *be, const ecd_conv_shape *shape, const ecd_conv *op);

    // Operations called between these two may be held back until the end, and queued at once where the same ones, of the same
    // shapes in the same memory, were called before. Results are the same; both are NULL where that would gain nothing.
    void (*sequence_begin)(ecd_backend *be);
    void (*sequence_end)(ecd_backend *be);

    // Takes a weight's ECF8 (w->coded, one whole container on the host, needed no longer than it is held) to the device, for
    // operations that decode what they use; the caller notes it in w->coded->held. Its CRCs are compared. NULL: failure kept.
    // Both are NULL where operations do not decode on a device.
    ecd_coded_held *(*coded_hold)(ecd_backend *be, const ecd_weight *w);
    void (*coded_free)(ecd_backend *be, ecd_coded_held *held); // NULL is allowed

    // Bytes that the backend itself holds (packed weights, scratch), for reports and plans.
    uint64_t (*memory_bytes)(const ecd_backend *be);
    void (*close)(ecd_backend *be);
} ecd_backend_ops;

// Every backend's own struct begins with this.
struct ecd_backend {
    const ecd_backend_ops *ops;
    const char *name;    // "ref", "cpu", "cuda"
    const char *detail;  // what does the work: "oneDNN 3.2, avx2, f32"
    ecd_compute compute; // never AUTO
    size_t act_bytes;    // 4 or 2
    int threads;
    bool host_memory;    // its memory is host memory: the store may write into it and lend it views of mapped files
    ecd_diag failure;    // the first failure; status ECD_OK while there is none
};

typedef struct ecd_backend_options {
    const char *name; // "auto", "ref", "cpu" or "cuda"
    ecd_compute compute;
    int threads; // 0: ecd_cpu_count()
    // Where a device's libraries offer several algorithms: the file that keeps those that were chosen from run to run, so that
    // the same are chosen. NULL: none. What is bad in it is chosen anew, and not writing it is no fault. Borrowed while opening.
    const char *algorithms_file;
} ecd_backend_options;

// Opens a backend. ECD_USAGE for an unknown name or a compute type that it lacks (ref has f32 only), ECD_RESOURCE where
// its device or library is missing. Close with ecd_backend_close.
ecd_status ecd_backend_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag);
void ecd_backend_close(ecd_backend *be); // NULL is allowed

// ops->alloc for callers that go on without: a failure is the diagnosis' (`what` says of what) and is not kept.
ecd_status ecd_backend_alloc(ecd_backend *be, size_t size_bytes, const char *what, void **out, ecd_diag *diag);

// The first failure since opening, or ECD_OK. Waits for a device's queue where there is one.
ecd_status ecd_backend_check(ecd_backend *be, ecd_diag *diag);

// For implementations: keep a failure unless one is kept already.
void ecd_backend_fail(ecd_backend *be, ecd_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// The same with a diagnosis that is complete already.
void ecd_backend_keep(ecd_backend *be, const ecd_diag *diag);

static inline bool ecd_backend_ok(const ecd_backend *be)
{
    return be->failure.status == ECD_OK;
}

static inline void ecd_sequence_begin(ecd_backend *be)
{
    if (be->ops->sequence_begin)
        be->ops->sequence_begin(be);
}

static inline void ecd_sequence_end(ecd_backend *be)
{
    if (be->ops->sequence_end)
        be->ops->sequence_end(be);
}

// Output size of a convolution along one side.
static inline int64_t ecd_conv_out(const ecd_conv_shape *s, int64_t in)
{
    return (in + s->pad_before + s->pad_after - s->kernel) / s->stride + 1;
}

#endif
