#include "text/encoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "text/encoder_internal.h"

struct ecd_encoder {
    const ecd_text_architecture *architecture;
    ecd_text_config c;
    ecd_backend *be;
    ecd_store *store;
    int64_t tokens, max_prompts;
    size_t activation_bytes;
    void (*progress)(void *user, int done, int blocks);
    void *user;
    // Which slot each tensor of a block fills: of the first, the stack's, and the last.
    ecd_text_tensor first[ECD_TEXT_MAX_TENSORS], block[ECD_TEXT_MAX_TENSORS], last[ECD_TEXT_MAX_TENSORS];
    int first_count, block_count, last_count;
    void *memory; // the arena's, in the backend
    float *x;     // [prompts, tokens, width], the residual stream
    void *hidden; // act [prompts, tokens, width]
    void *q, *k, *v, *attended; // act [prompts, tokens, heads head_dim]
    void *wide;                 // act [prompts, tokens, wide]
    float *bias, *distances;    // [heads, 2 tokens - 1] and [2 tokens - 1, heads]; NULL without relative positions
    float *host;                // [prompts, tokens, width] or the distances, whichever is more: zeros, and results
    size_t host_bytes, ids_bytes;
    int64_t *ids; // host [prompts * tokens], or of the distances
};

// What acquire lends, by slot.
typedef struct layer {
    const ecd_weight *w[ECD_TEXT_SLOTS];
    const float *v[ECD_TEXT_SLOTS];
} layer;

static const ecd_text_architecture *const architectures[] = {&ecd_text_clip, &ecd_text_t5};

static ecd_status find_architecture(const char *class_name, const ecd_text_architecture **out, ecd_diag *diag)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        *out = architectures[i];
        if (!strcmp(class_name, architectures[i]->class_name))
            return ECD_OK;
    }
    return ecd_fail(diag, ECD_USAGE, "the text encoder \"%.64s\" is not supported, expected CLIPTextModel or T5EncoderModel",
                    class_name);
}

ecd_status ecd_encoder_describe(const char *class_name, const cJSON *config, ecd_encoder_info *out, ecd_diag *diag)
{
    const ecd_text_architecture *architecture;
    ecd_text_config c = {0};
    ecd_status status = find_architecture(class_name, &architecture, diag);
    if (!status)
        status = architecture->read_config(config, &c, diag);
    *out = c.info;
    out->class_name = architecture->class_name;
    return status;
}

static void spec_block(const ecd_text_tensor *from, int count, ecd_tensor_spec *to)
{
    for (int i = 0; i < count; i++)
        to[i] = (ecd_tensor_spec){.name = from[i].name,
                                  .kind = from[i].cols ? ECD_SPEC_MATRIX : ECD_SPEC_VECTOR,
                                  .dims = from[i].cols ? 2 : 1,
                                  .shape = {from[i].rows, from[i].cols}};
}

// Block 0 of the store is what comes first, block i + 1 the stack's block i, the last one the final norm.
static ecd_status open_store(ecd_encoder *e, const ecd_checkpoint *cp, const ecd_store_options *options, ecd_diag *diag)
{
    ecd_tensor_spec first[ECD_TEXT_MAX_TENSORS], block[ECD_TEXT_MAX_TENSORS], last[ECD_TEXT_MAX_TENSORS];
    const ecd_text_architecture *a = e->architecture;
    int count = e->c.info.blocks + 2;
    ecd_status status;
    spec_block(e->first, e->first_count = a->list_first(&e->c, cp, e->first), first);
    spec_block(e->block, e->block_count = a->list_block(&e->c, e->block), block);
    spec_block(e->last, e->last_count = a->list_last(&e->c, e->last), last);
    ecd_block_spec *blocks = calloc((size_t)count, sizeof *blocks);
    char(*prefixes)[ECD_TEXT_PREFIX] = calloc((size_t)count, sizeof *prefixes);
    if (!blocks || !prefixes) {
        status = ecd_fail_memory(diag, (size_t)count * (sizeof *blocks + sizeof *prefixes), "the list of blocks");
        goto out;
    }
    for (int i = 0; i < count; i++) {
        a->prefix(&e->c, cp, i - 1, prefixes[i]);
        blocks[i] = (ecd_block_spec){.prefix = prefixes[i], .tensors = block, .count = e->block_count};
    }
    blocks[0].tensors = first;
    blocks[0].count = e->first_count;
    blocks[count - 1].tensors = last;
    blocks[count - 1].count = e->last_count;
    status = ecd_store_open(cp, e->be, blocks, count, options, &e->store, diag);
out:
    free(blocks);
    free(prefixes);
    return status;
}

static void place(ecd_encoder *e, ecd_arena *arena)
{
    const size_t act = e->be->act_bytes;
    int64_t rows = e->max_prompts * e->tokens, inner = e->c.heads * e->c.head_dim;
    e->x = ecd_arena_take_array(arena, rows, e->c.info.width, sizeof(float));
    e->hidden = ecd_arena_take_array(arena, rows, e->c.info.width, act);
    e->q = ecd_arena_take_array(arena, rows, inner, act);
    e->k = ecd_arena_take_array(arena, rows, inner, act);
    e->v = ecd_arena_take_array(arena, rows, inner, act);
    e->attended = ecd_arena_take_array(arena, rows, inner, act);
    e->wide = ecd_arena_take_array(arena, rows, e->c.wide, act);
    if (!e->c.buckets)
        return;
    e->bias = ecd_arena_take_array(arena, 2 * e->tokens - 1, e->c.heads, sizeof(float));
    e->distances = ecd_arena_take_array(arena, 2 * e->tokens - 1, e->c.heads, sizeof(float));
}

static size_t plan_activations(ecd_encoder *e)
{
    ecd_arena arena = ecd_arena_plan();
    place(e, &arena);
    return arena.peak_bytes;
}

static void measure_host(ecd_encoder *e)
{
    size_t rows = (size_t)(e->max_prompts * e->tokens), floats = rows * (size_t)e->c.info.width;
    size_t distances = 2 * (size_t)e->tokens, biases = e->c.buckets ? distances * (size_t)e->c.heads : 0;
    e->host_bytes = (floats > biases ? floats : biases) * sizeof(float);
    e->ids_bytes = (rows > distances ? rows : distances) * sizeof *e->ids;
}

static ecd_status allocate(ecd_encoder *e, ecd_diag *diag)
{
    e->host = malloc(e->host_bytes);
    e->ids = malloc(e->ids_bytes);
    e->memory = e->be->ops->alloc(e->be, e->activation_bytes);
    if (!e->host || !e->ids || !e->memory) {
        ecd_status status = ecd_backend_check(e->be, diag);
        return status ? status : ecd_fail_memory(diag, e->activation_bytes + e->host_bytes, "the text encoder's activations");
    }
    ecd_arena arena = ecd_arena_over(e->memory, e->activation_bytes);
    place(e, &arena);
    return ECD_OK;
}

static ecd_status check_options(const ecd_encoder *e, ecd_diag *diag)
{
    if (e->max_prompts < 1 || e->max_prompts > 1 << 20 || e->tokens < 1 || e->tokens > 1 << 20)
        return ecd_fail(diag, ECD_USAGE, "%lld prompts of %lld tokens, expected at least one of each",
                        (long long)e->max_prompts, (long long)e->tokens);
    if (e->c.info.max_tokens && e->tokens > e->c.info.max_tokens)
        return ecd_fail(diag, ECD_USAGE, "%lld tokens, expected at most the encoder's %lld", (long long)e->tokens,
                        (long long)e->c.info.max_tokens);
    return ECD_OK;
}

ecd_status ecd_encoder_open(const char *class_name, const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be,
                            const ecd_encoder_options *options, ecd_encoder **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_encoder *e = calloc(1, sizeof *e);
    if (!e)
        return ecd_fail_memory(diag, sizeof *e, "a text encoder");
    e->be = be;
    e->tokens = options->tokens;
    e->max_prompts = options->max_prompts;
    e->progress = options->progress;
    e->user = options->user;
    ecd_status status = find_architecture(class_name, &e->architecture, diag);
    if (!status)
        status = e->architecture->read_config(config, &e->c, diag);
    if (status || (status = check_options(e, diag)))
        goto out;
    e->c.info.class_name = e->architecture->class_name;
    e->activation_bytes = plan_activations(e);
    measure_host(e);
    ecd_store_options store = options->store;
    store.outside_bytes += e->activation_bytes + (be->host_memory ? e->host_bytes + e->ids_bytes : 0);
    store.rows = e->max_prompts * e->tokens;
    store.picture_rows = e->tokens;
    status = open_store(e, cp, &store, diag);
    if (!status)
        status = allocate(e, diag);
out:
    if (status)
        ecd_encoder_close(e);
    else
        *out = e;
    return status;
}

void ecd_encoder_close(ecd_encoder *e)
{
    if (!e)
        return;
    ecd_store_close(e->store);
    if (e->memory)
        e->be->ops->free(e->be, e->memory);
    free(e->host);
    free(e->ids);
    free(e);
}

const ecd_encoder_info *ecd_encoder_get_info(const ecd_encoder *e)
{
    return &e->c.info;
}

void ecd_encoder_report(const ecd_encoder *e, ecd_store_report *store, uint64_t *activation_bytes)
{
    ecd_store_report_get(e->store, store);
    *activation_bytes = e->activation_bytes;
}

static layer layer_of(const ecd_block *block, const ecd_text_tensor *tensors, int count)
{
    layer l = {0};
    for (int i = 0; i < count; i++) {
        l.w[tensors[i].slot] = &block->weights[i];
        l.v[tensors[i].slot] = block->vectors[i];
    }
    return l;
}

static void linear(ecd_encoder *e, const layer *l, ecd_text_slot weight, const float *bias, int64_t prompts, const void *x,
                   ecd_epilogue epilogue, void *out)
{
    ecd_linear op = {.w = l->w[weight],
                     .bias = bias,
                     .pictures = prompts,
                     .rows = e->tokens,
                     .x = x,
                     .out = out,
                     .out_f32 = epilogue == ECD_EPILOGUE_RESIDUAL,
                     .epilogue = epilogue};
    e->be->ops->linear(e->be, &op);
}

static void normalize(ecd_encoder *e, const float *gamma, const float *beta, int64_t prompts)
{
    ecd_norm op = {.x = e->x,
                   .rows = prompts * e->tokens,
                   .cols = e->c.info.width,
                   .eps = e->c.eps,
                   .out = e->hidden,
                   .gamma = gamma,
                   .beta = beta,
                   .rms = e->c.rms};
    e->be->ops->norm(e->be, &op);
}

// x := the tokens' embeddings, plus their places'.
static void embed(ecd_encoder *e, const layer *l, const int32_t *ids, int64_t prompts)
{
    const ecd_backend_ops *ops = e->be->ops;
    int64_t rows = prompts * e->tokens;
    memset(e->host, 0, e->host_bytes);
    ops->upload(e->be, e->x, e->host, (size_t)(rows * e->c.info.width) * sizeof(float));
    for (int64_t i = 0; i < rows; i++)
        e->ids[i] = ids[i];
    ops->add_rows(e->be, l->w[ECD_TEXT_TOKENS], e->ids, rows, e->x);
    if (!l->w[ECD_TEXT_POSITIONS])
        return;
    for (int64_t i = 0; i < rows; i++)
        e->ids[i] = i % e->tokens;
    ops->add_rows(e->be, l->w[ECD_TEXT_POSITIONS], e->ids, rows, e->x);
}

// bias[head][d] := what the model adds to the logit of a key d - (tokens - 1) tokens behind its query.
static void prepare_bias(ecd_encoder *e, const layer *l)
{
    const ecd_backend_ops *ops = e->be->ops;
    int64_t count = 2 * e->tokens - 1;
    if (!l->w[ECD_TEXT_DISTANCES])
        return;
    for (int64_t i = 0; i < count; i++)
        e->ids[i] = ecd_text_bucket(&e->c, i - (e->tokens - 1));
    memset(e->host, 0, (size_t)(count * e->c.heads) * sizeof(float));
    ops->upload(e->be, e->distances, e->host, (size_t)(count * e->c.heads) * sizeof(float));
    ops->add_rows(e->be, l->w[ECD_TEXT_DISTANCES], e->ids, count, e->distances);
    ops->to_channels_first(e->be, e->distances, e->c.heads, count, e->bias);
}

static void run_block(ecd_encoder *e, const layer *l, int64_t prompts)
{
    normalize(e, l->v[ECD_TEXT_NORM1_W], l->v[ECD_TEXT_NORM1_B], prompts);
    linear(e, l, ECD_TEXT_Q_W, l->v[ECD_TEXT_Q_B], prompts, e->hidden, ECD_EPILOGUE_NONE, e->q);
    linear(e, l, ECD_TEXT_K_W, l->v[ECD_TEXT_K_B], prompts, e->hidden, ECD_EPILOGUE_NONE, e->k);
    linear(e, l, ECD_TEXT_V_W, l->v[ECD_TEXT_V_B], prompts, e->hidden, ECD_EPILOGUE_NONE, e->v);
    ecd_attention attention = {.batch = prompts,
                               .heads = e->c.heads,
                               .head_dim = e->c.head_dim,
                               .q_tokens = e->tokens,
                               .kv_tokens = e->tokens,
                               .q = e->q,
                               .k = e->k,
                               .v = e->v,
                               .out = e->attended,
                               .scale = e->c.scale,
                               .causal = e->c.causal,
                               .distance_bias = e->bias};
    e->be->ops->attention(e->be, &attention);
    linear(e, l, ECD_TEXT_OUT_W, l->v[ECD_TEXT_OUT_B], prompts, e->attended, ECD_EPILOGUE_RESIDUAL, e->x);

    normalize(e, l->v[ECD_TEXT_NORM2_W], l->v[ECD_TEXT_NORM2_B], prompts);
    linear(e, l, ECD_TEXT_FF1_W, l->v[ECD_TEXT_FF1_B], prompts, e->hidden, e->c.activation, e->wide);
    if (l->w[ECD_TEXT_GATE_W])
        linear(e, l, ECD_TEXT_GATE_W, NULL, prompts, e->hidden, ECD_EPILOGUE_MULTIPLY, e->wide);
    linear(e, l, ECD_TEXT_FF2_W, l->v[ECD_TEXT_FF2_B], prompts, e->wide, ECD_EPILOGUE_RESIDUAL, e->x);
}

static void run_layer(ecd_encoder *e, const ecd_block *block, int index, const int32_t *ids, int64_t prompts)
{
    if (index == 0) {
        layer l = layer_of(block, e->first, e->first_count);
        prepare_bias(e, &l);
        embed(e, &l, ids, prompts);
    } else if (index <= e->c.info.blocks) {
        layer l = layer_of(block, e->block, e->block_count);
        run_block(e, &l, prompts);
    } else {
        layer l = layer_of(block, e->last, e->last_count);
        normalize(e, l.v[ECD_TEXT_NORM1_W], l.v[ECD_TEXT_NORM1_B], prompts);
        e->be->ops->to_f32(e->be, e->hidden, prompts * e->tokens * e->c.info.width, e->x);
    }
}

// The place of the first end of the text; 0 where there is none, as torch's argmax has it.
static int64_t end_of(const ecd_encoder *e, const int32_t *ids)
{
    for (int64_t at = 0; at < e->tokens; at++) {
        if (ids[at] == e->c.end_id)
            return at;
    }
    return 0;
}

// The pooled outputs from the hidden states, [prompts, tokens, width].
static void pool(const ecd_encoder *e, const int32_t *ids, int64_t prompts, const float *hidden, float *pooled)
{
    int64_t width = e->c.info.width;
    for (int64_t p = 0; p < prompts; p++)
        memcpy(pooled + p * width, hidden + (p * e->tokens + end_of(e, ids + p * e->tokens)) * width,
               (size_t)width * sizeof(float));
}

// A block for all prompts, a group at a time. `states` is where the groups' streams rest between blocks, and where the
// last block leaves the result.
static ecd_status run_groups(ecd_encoder *e, const ecd_block *block, int index, const int32_t *ids, int64_t prompts,
                             float *states, ecd_diag *diag)
{
    const ecd_backend_ops *ops = e->be->ops;
    bool several = prompts > e->max_prompts, last = index == e->c.info.blocks + 1;
    for (int64_t from = 0; from < prompts; from += e->max_prompts) {
        int64_t group = prompts - from < e->max_prompts ? prompts - from : e->max_prompts;
        float *rest = states + from * e->tokens * e->c.info.width;
        size_t bytes = (size_t)(group * e->tokens * e->c.info.width) * sizeof(float);
        if (several && index > 0)
            ops->upload(e->be, e->x, rest, bytes);
        run_layer(e, block, index, ids + from * e->tokens, group);
        if (several || last)
            ops->download(e->be, rest, e->x, bytes);
    }
    return ecd_backend_check(e->be, diag); // a device has read the block once this returns
}

ecd_status ecd_encoder_run(ecd_encoder *e, const int32_t *ids, int64_t prompts, float *hidden, float *pooled,
                           const volatile int *cancel, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    if (prompts < 1 || (prompts > e->max_prompts && !hidden))
        return ecd_fail(diag, ECD_USAGE, "%lld prompts, expected 1 to %lld", (long long)prompts, (long long)e->max_prompts);
    if (pooled && e->c.end_id < 0)
        return ecd_fail(diag, ECD_USAGE, "%s has no pooled output", e->c.info.class_name);
    for (int64_t i = 0; i < prompts * e->tokens; i++) {
        if (ids[i] < 0 || ids[i] >= e->c.info.vocab)
            return ecd_fail(diag, ECD_DATA, "the token id %d is beyond the encoder's vocabulary of %lld", (int)ids[i],
                            (long long)e->c.info.vocab);
    }
    float *states = hidden ? hidden : e->host;
    for (int i = 0; !status && i < e->c.info.blocks + 2; i++) {
        ecd_block block;
        if (ecd_is_set(cancel))
            return ecd_fail(diag, ECD_INTERRUPTED, "interrupted");
        status = ecd_store_acquire(e->store, i, &block, diag);
        if (status)
            break;
        status = run_groups(e, &block, i, ids, prompts, states, diag);
        ecd_store_release(e->store, i);
        if (e->progress)
            e->progress(e->user, i + 1, e->c.info.blocks + 2);
    }
    if (!status && pooled)
        pool(e, ids, prompts, states, pooled);
    return status;
}
