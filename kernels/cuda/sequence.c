#include "kernels/cuda/sequence.h"

#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "base/grow.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/sequence_step.h"

enum { SEQUENCES = 1024 }; // kept at most

// A sequence that was queued before: its arguments, and what came of them.
typedef struct kept {
    uint64_t hash;
    uint64_t *words;
    size_t count;
    cudaGraphExec_t graph; // NULL: not made yet
    bool refused;          // cannot be captured
} kept;

struct ecd_sequences {
    bool notes, captures;
    ecd_backend_ops noting; // the table meanwhile
    ecd_cuda_step *steps;
    size_t count, capacity;
    uint64_t *words;
    size_t word_capacity;
    kept *kept;
    size_t kept_count, kept_capacity;
    ecd_sequence_counts counts;
};

static ecd_sequences *of(const ecd_backend *be)
{
    return ((const ecd_cuda_backend *)be)->sequences;
}

// ---- noting

// Room for one more; where there is none, what was noted is queued and this one is to be done at once: NULL.
static ecd_cuda_step *note(ecd_backend *be, ecd_cuda_step_kind k)
{
    ecd_sequences *s = of(be);
    ecd_cuda_step *steps = ecd_grow(s->steps, s->count + 1, &s->capacity, sizeof *steps);
    if (!steps) {
        ecd_cuda_sequence_flush(be);
        return NULL;
    }
    s->steps = steps;
    steps[s->count].kind = k;
    return &steps[s->count++];
}

static void note_linear(ecd_backend *be, const ecd_linear *op)
{
    ecd_cuda_step *s = note(be, ECD_CUDA_LINEAR);
    if (!s) {
        be->ops->linear(be, op);
        return;
    }
    s->of.linear.op = *op;
    s->of.linear.weight = *op->w;
}

#define NOTE(name, type, KIND)                                                                                         \
    static void note_##name(ecd_backend *be, const type *op)                                                           \
    {                                                                                                                  \
        ecd_cuda_step *s = note(be, KIND);                                                                             \
        if (s)                                                                                                         \
            s->of.name = *op;                                                                                          \
        else                                                                                                           \
            be->ops->name(be, op);                                                                                     \
    }
NOTE(norm, ecd_norm, ECD_CUDA_NORM)
NOTE(attention, ecd_attention, ECD_CUDA_ATTENTION)
NOTE(rope, ecd_rope, ECD_CUDA_ROPE)

static void note_to_act(ecd_backend *be, const float *x, int64_t count, bool silu, void *out)
{
    ecd_cuda_step *s = note(be, ECD_CUDA_TO_ACT);
    if (s)
        s->of.move = (ecd_cuda_move){x, out, count, silu};
    else
        be->ops->to_act(be, x, count, silu, out);
}

static void note_to_f32(ecd_backend *be, const void *x, int64_t count, float *out)
{
    ecd_cuda_step *s = note(be, ECD_CUDA_TO_F32);
    if (s)
        s->of.move = (ecd_cuda_move){x, out, count, false};
    else
        be->ops->to_f32(be, x, count, out);
}

static void note_copy(ecd_backend *be, void *to, const void *from, size_t size_bytes)
{
    ecd_cuda_step *s = note(be, ECD_CUDA_COPY);
    if (s)
        s->of.move = (ecd_cuda_move){from, to, (int64_t)size_bytes, false};
    else
        be->ops->copy(be, to, from, size_bytes);
}

// ---- doing what was noted

static void queue_all(ecd_backend *be)
{
    ecd_sequences *s = of(be);
    for (size_t i = 0; i < s->count; i++)
        ecd_cuda_step_queue(be, &s->steps[i]);
}

// Back to doing operations when they are called. False where that was so already.
static bool stop_noting(ecd_backend *be)
{
    ecd_sequences *s = of(be);
    if (!s || !s->notes)
        return false;
    s->notes = false;
    be->ops = &ecd_cuda_of(be)->ops;
    return true;
}

void ecd_cuda_sequence_flush(ecd_backend *be)
{
    if (!stop_noting(be))
        return;
    queue_all(be);
    of(be)->counts.single++;
}

// ---- earlier sequences

// The words of all that was noted; 0 where memory is out.
static size_t spell(ecd_sequences *s)
{
    uint64_t *words = ecd_grow(s->words, s->count * ECD_CUDA_STEP_WORDS, &s->word_capacity, sizeof *words);
    if (!words)
        return 0;
    s->words = words;
    for (size_t i = 0; i < s->count; i++)
        words = ecd_cuda_step_spell(&s->steps[i], words);
    return (size_t)(words - s->words);
}

static uint64_t hash_of(const uint64_t *words, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a, by words
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ words[i]) * 0x100000001b3u;
    return hash;
}

static kept *find(ecd_sequences *s, size_t count, uint64_t hash)
{
    for (size_t i = 0; i < s->kept_count; i++) {
        kept *k = &s->kept[i];
        if (k->hash == hash && k->count == count && !memcmp(k->words, s->words, count * sizeof *k->words))
            return k;
    }
    return NULL;
}

// ---- graphs

static void drop_graph(kept *k)
{
    if (k->graph)
        cudaGraphExecDestroy(k->graph);
    k->graph = NULL;
}

void ecd_cuda_sequences_forget(ecd_backend *be)
{
    ecd_sequences *s = of(be);
    bool any = false;
    for (size_t i = 0; s && i < s->kept_count; i++)
        any |= s->kept[i].graph != NULL;
    if (!any)
        return;
    cudaStreamSynchronize((cudaStream_t)ecd_cuda_of(be)->stream); // they may be on their way
    for (size_t i = 0; i < s->kept_count; i++)
        drop_graph(&s->kept[i]);
}

// All sequences, of which there are too many: those still in use come back.
static void forget_all(ecd_backend *be)
{
    ecd_sequences *s = of(be);
    ecd_cuda_sequences_forget(be);
    for (size_t i = 0; i < s->kept_count; i++)
        free(s->kept[i].words);
    s->kept_count = 0;
}

static void keep(ecd_backend *be, size_t count, uint64_t hash)
{
    ecd_sequences *s = of(be);
    if (s->kept_count == SEQUENCES)
        forget_all(be);
    kept *list = ecd_grow(s->kept, s->kept_count + 1, &s->kept_capacity, sizeof *list);
    uint64_t *words = malloc(count * sizeof *words);
    if (list)
        s->kept = list;
    if (!list || !words) {
        free(words);
        return; // it stays single launches
    }
    memcpy(words, s->words, count * sizeof *words);
    list[s->kept_count++] = (kept){.hash = hash, .words = words, .count = count};
}

// Makes what was noted a graph. Nothing is done on the device; what fails meanwhile has not happened, and is told by the
// single launches that take its place.
static bool capture(ecd_backend *be, kept *k)
{
    ecd_sequences *s = of(be);
    cudaStream_t stream = (cudaStream_t)ecd_cuda_of(be)->stream;
    cudaGraph_t graph = NULL;
    if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    s->captures = true;
    ecd_cuda_of(be)->brought = (ecd_cuda_brought){0}; // a graph finds in the scratch only what it left there itself
    queue_all(be);
    ecd_cuda_of(be)->brought = (ecd_cuda_brought){0}; // which has not happened
    s->captures = false;
    bool good = cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph && ecd_backend_ok(be) &&
                cudaGraphInstantiateWithFlags(&k->graph, graph, 0) == cudaSuccess;
    if (!good)
        k->graph = NULL;
    if (graph)
        cudaGraphDestroy(graph);
    cudaGetLastError();
    be->failure = (ecd_diag){0};
    s->counts.captured += good;
    return good;
}

static void launch(ecd_backend *be, kept *k)
{
    cudaError_t error = cudaGraphLaunch(k->graph, (cudaStream_t)ecd_cuda_of(be)->stream);
    ecd_cuda_of(be)->brought = (ecd_cuda_brought){0}; // it worked in the scratch
    ecd_cuda_done(be, "a sequence of operations", error == cudaSuccess ? NULL : cudaGetErrorString(error));
    of(be)->counts.replayed++;
}

void ecd_cuda_sequence_begin(ecd_backend *be)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    ecd_sequences *s = cuda->sequences;
    if (s->notes || !ecd_backend_ok(be))
        return;
    s->noting = cuda->ops;
    s->noting.linear = note_linear;
    s->noting.norm = note_norm;
    s->noting.attention = note_attention;
    s->noting.rope = note_rope;
    s->noting.to_act = note_to_act;
    s->noting.to_f32 = note_to_f32;
    s->noting.copy = note_copy;
    be->ops = &s->noting;
    s->notes = true;
    s->count = 0;
}

void ecd_cuda_sequence_end(ecd_backend *be)
{
    ecd_sequences *s = of(be);
    if (!stop_noting(be) || !s->count)
        return;
    size_t count = spell(s);
    uint64_t hash = hash_of(s->words, count);
    kept *k = count ? find(s, count, hash) : NULL;
    if (k && !k->graph && !k->refused)
        k->refused = !capture(be, k);
    if (k && k->graph) {
        launch(be, k);
        return;
    }
    queue_all(be);
    s->counts.single++;
    if (count && !k && ecd_backend_ok(be))
        keep(be, count, hash);
}

// ---- opening and closing

ecd_sequences *ecd_cuda_sequences_open(void)
{
    return calloc(1, sizeof(ecd_sequences));
}

void ecd_cuda_sequences_close(ecd_backend *be)
{
    ecd_sequences *s = of(be);
    if (!s)
        return;
    forget_all(be);
    free(s->steps);
    free(s->words);
    free(s->kept);
    free(s);
    ecd_cuda_of(be)->sequences = NULL;
}

bool ecd_cuda_sequence_captures(const ecd_backend *be)
{
    return of(be) && of(be)->captures;
}

ecd_sequence_counts ecd_cuda_sequence_counted(const ecd_backend *be)
{
    return of(be) ? of(be)->counts : (ecd_sequence_counts){0};
}
