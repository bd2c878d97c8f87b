// What an operation's bits must not depend on either: where its operands lie. Devices move whole vectors where they are aligned.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

enum { ALIGN = 64, VECTORS = 5, MOST_VECTOR = 3 * 4200 }; // of parameters, f32

// Operands of an operation, all at multiples of ALIGN bytes or all an element past them.
typedef struct operands {
    const void *x;
    void *out;
    const float *vectors[VECTORS];
} operands;

typedef struct place_case {
    const char *what;
    void (*run)(ecd_backend *be, const void *parameters, const operands *o);
    const void *parameters;
    bool x_act, x_stays, out_act; // x_stays: always at a multiple of ALIGN
    size_t in, out;               // elements
} place_case;

static char *new_memory(size_t bytes)
{
    char *memory = aligned_alloc(ALIGN, (bytes + 2 * ALIGN - 1) / ALIGN * ALIGN);
    if (!memory)
        abort();
    memset(memory, 0, (bytes + 2 * ALIGN - 1) / ALIGN * ALIGN);
    return memory;
}

// The same values to the backend's own form, an element further on if `shifted`; the result is out's elements, to be freed.
static char *run_at(ecd_backend *be, const place_case *c, const float *x, const float *vectors, bool shifted)
{
    const size_t x_size = c->x_act ? be->act_bytes : 4, out_size = c->out_act ? be->act_bytes : 4;
    char *in = new_memory(c->in * x_size), *out = new_memory(c->out * out_size), *v[VECTORS];
    char *from = in + (shifted && !c->x_stays ? x_size : 0), *to = out + (shifted ? out_size : 0);
    operands o = {.x = from, .out = to};
    if (c->x_act)
        ecd_check_as_act(be, x, c->in, from);
    else
        memcpy(from, x, c->in * 4);
    for (size_t i = 0; i < c->out; i++) { // what is added to or multiplied
        if (out_size == 2)
            ((uint16_t *)(void *)to)[i] = ecd_to_bf16(1.5f);
        else
            ((float *)(void *)to)[i] = 1.5f;
    }
    for (int i = 0; i < VECTORS; i++) {
        v[i] = new_memory(MOST_VECTOR * 4);
        o.vectors[i] = (float *)(void *)(v[i] + (shifted ? 4 : 0));
        memcpy((void *)(uintptr_t)o.vectors[i], vectors + i, MOST_VECTOR * 4);
    }
    c->run(be, c->parameters, &o);
    memmove(out, to, c->out * out_size);
    for (int i = 0; i < VECTORS; i++)
        free(v[i]);
    free(in);
    return out;
}

static void compare(ecd_check *check, const place_case *c)
{
    float *x = ecd_check_values(check, c->in), *vectors = ecd_check_values(check, MOST_VECTOR + VECTORS);
    char *expected = run_at(check->ref, c, x, vectors, false), *aligned = run_at(check->one, c, x, vectors, false);
    char *shifted = run_at(check->two, c, x, vectors, true), text[160];
    ecd_check_close(check, c->what, (float *)(void *)expected, aligned, c->out_act, c->out);
    snprintf(text, sizeof text, "%s: equal bits at another place", c->what);
    ecd_check_true(check, text, !memcmp(aligned, shifted, c->out * (c->out_act ? check->one->act_bytes : 4)));
    free(x);
    free(vectors);
    free(expected);
    free(aligned);
    free(shifted);
}

// ---- products

typedef struct linear_case {
    ecd_epilogue epilogue;
    bool gate, bias, out_f32;
    ecd_weight w;
} linear_case;

enum { PICTURES = 2, ROWS = 5, COLS = 16, CHANNELS = 48, OUT_STRIDE = 56, GATE_STRIDE = 64 };

static void run_linear(ecd_backend *be, const void *parameters, const operands *o)
{
    const linear_case *c = parameters;
    ecd_weight w = c->w;
    w.scale = o->vectors[0]; // after the product, so that no library writes the output by itself
    const ecd_linear op = {.w = &w, .bias = c->bias ? o->vectors[1] : NULL, .pictures = PICTURES, .rows = ROWS, .x = o->x,
                           .out = o->out, .out_stride = OUT_STRIDE, .out_f32 = c->out_f32, .epilogue = c->epilogue,
                           .gate = c->gate ? o->vectors[2] : NULL, .gate_rows = 3, .gate_stride = GATE_STRIDE};
    be->ops->linear(be, &op);
}

static void check_products(ecd_check *check)
{
    static const linear_case cases[] = {
        {.epilogue = ECD_EPILOGUE_NONE},
        {.epilogue = ECD_EPILOGUE_NONE, .bias = true, .out_f32 = true},
        {.epilogue = ECD_EPILOGUE_GELU_TANH, .bias = true},
        {.epilogue = ECD_EPILOGUE_SILU},
        {.epilogue = ECD_EPILOGUE_RESIDUAL, .bias = true},
        {.epilogue = ECD_EPILOGUE_RESIDUAL, .gate = true},
        {.epilogue = ECD_EPILOGUE_QUICK_GELU, .bias = true},
        {.epilogue = ECD_EPILOGUE_MULTIPLY},
    };
    float *w = ecd_check_values(check, CHANNELS * COLS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        linear_case c = cases[i];
        char what[80];
        c.w = (ecd_weight){.dtype = ECD_F32, .data = w, .rows = CHANNELS, .cols = COLS, .scale_kind = ECD_SCALE_ROW};
        snprintf(what, sizeof what, "linear, case %zu", i);
        compare(check, &(place_case){what, run_linear, &c, true, true, !c.out_f32 && c.epilogue != ECD_EPILOGUE_RESIDUAL,
                                     PICTURES * ROWS * COLS, PICTURES * ROWS * OUT_STRIDE});
    }
    free(w);
}

// ---- norms and rotary embedding

static void run_norm(ecd_backend *be, const void *parameters, const operands *o)
{
    ecd_norm op = *(const ecd_norm *)parameters;
    op.x = o->x;
    op.out = o->out;
    // Set in the parameters says that there is one.
    op.scale = op.scale ? o->vectors[0] : NULL;
    op.shift = op.shift ? o->vectors[1] : NULL;
    op.gamma = op.gamma ? o->vectors[2] : NULL;
    op.beta = op.beta ? o->vectors[3] : NULL;
    be->ops->norm(be, &op);
}

static void check_norms(ecd_check *check)
{
    static const int64_t widths[] = {4, 96, 512, 516, 1152, 3072, 4096, 4100};
    const float any = 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int kind = 0; kind < 3; kind++) {
            ecd_norm op = {.rows = 5, .cols = widths[i], .eps = 1e-6f};
            if (kind != 1) {
                op.scale = op.shift = &any;
                op.group_rows = 2;
                op.mod_stride = widths[i] + 4;
            }
            if (kind) {
                op.gamma = &any;
                op.beta = i & 1 ? &any : NULL;
                op.rms = i & 2;
            }
            char what[80];
            snprintf(what, sizeof what, "norm of %lld, kind %d", (long long)op.cols, kind);
            size_t count = (size_t)(op.rows * op.cols);
            compare(check, &(place_case){what, run_norm, &op, false, false, true, count, count});
        }
}

static void run_rope(ecd_backend *be, const void *parameters, const operands *o)
{
    ecd_rope op = *(const ecd_rope *)parameters;
    op.x = o->out;
    memcpy(op.x, o->x, (size_t)(op.batch * op.tokens * op.stride) * be->act_bytes);
    op.cosine = o->vectors[0];
    op.sine = o->vectors[1];
    op.gamma = op.gamma ? o->vectors[2] : NULL;
    be->ops->rope(be, &op);
}

static void check_ropes(ecd_check *check)
{
    static const int64_t heads[][2] = {{3, 16}, {5, 64}, {1, 128}, {2, 512}};
    const float any = 0;
    for (int i = 0; i < 8; i++) {
        ecd_rope op = {.batch = 2, .tokens = 3, .heads = heads[i / 2][0], .head_dim = heads[i / 2][1],
                       .gamma = i & 1 ? &any : NULL, .eps = 1e-6f};
        op.stride = op.heads * op.head_dim + 8;
        size_t count = (size_t)(op.batch * op.tokens * op.stride);
        compare(check, &(place_case){"rope", run_rope, &op, true, false, true, count, count});
    }
}

// ---- pictures

static void run_group_norm(ecd_backend *be, const void *parameters, const operands *o)
{
    ecd_group_norm op = *(const ecd_group_norm *)parameters;
    op.x = o->x;
    op.out = o->out;
    op.gamma = o->vectors[0];
    op.beta = o->vectors[1];
    be->ops->group_norm(be, &op);
}

typedef struct conv_case {
    ecd_conv_shape shape;
    bool upsample, residual, norm, out_f32;
    ecd_weight w;
} conv_case;

enum { HEIGHT = 7, WIDTH = 9 };

static void run_conv(ecd_backend *be, const void *parameters, const operands *o)
{
    const conv_case *c = parameters;
    ecd_conv_weight *w = be->ops->conv_prepare(be, &c->shape, &c->w, o->vectors[0]);
    _Alignas(ALIGN) double measured[64]; // of 32 channels
    const ecd_group_norm norm = {.x = o->x, .pixels = HEIGHT * WIDTH, .channels = c->shape.in_channels, .groups = 4, .eps = 1e-6f,
                                 .gamma = o->vectors[1], .beta = o->vectors[2], .silu = true, .measured = measured};
    const ecd_conv op = {.w = w, .height = HEIGHT, .width = WIDTH, .x = o->x, .upsample = c->upsample,
                         .residual = c->residual ? o->x : NULL, .out = o->out, .out_f32 = c->out_f32,
                         .norm = c->norm ? &norm : NULL};
    if (c->norm)
        be->ops->group_measure(be, &norm);
    be->ops->conv(be, &op);
    be->ops->conv_free(be, w);
}

static void check_pictures(ecd_check *check)
{
    static const int64_t norms[][3] = {{300, 32, 4}, {129, 48, 2}, {70, 24, 8}};
    for (int i = 0; i < 3; i++) {
        const ecd_group_norm op = {.pixels = norms[i][0], .channels = norms[i][1], .groups = norms[i][2], .eps = 1e-6f,
                                   .silu = i != 1};
        size_t count = (size_t)(op.pixels * op.channels);
        compare(check, &(place_case){"group norm", run_group_norm, &op, true, false, true, count, count});
    }
    static const conv_case cases[] = {{.shape = {32, 16, 3, 1, 1, 1}, .norm = true},
                                      {.shape = {32, 32, 3, 1, 1, 1}, .norm = true, .residual = true},
                                      {.shape = {16, 24, 3, 1, 1, 1}, .upsample = true, .out_f32 = true},
                                      {.shape = {16, 16, 3, 2, 0, 1}, .residual = true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_case c = cases[i];
        const int64_t in = c.shape.in_channels, grow = c.upsample ? 2 : 1;
        const int64_t out = ecd_conv_out(&c.shape, HEIGHT * grow) * ecd_conv_out(&c.shape, WIDTH * grow) * c.shape.out_channels;
        char what[80];
        c.w = (ecd_weight){.dtype = ECD_F32, .rows = c.shape.out_channels, .cols = in * 9};
        float *w = ecd_check_values(check, (size_t)(c.w.rows * c.w.cols));
        c.w.data = w;
        snprintf(what, sizeof what, "conv, case %zu", i);
        compare(check, &(place_case){what, run_conv, &c, true, false, !c.out_f32, (size_t)(HEIGHT * WIDTH * in), (size_t)out});
        free(w);
    }
}

void ecd_check_place(ecd_check *check)
{
    const uint64_t random = check->random; // later checks keep the values that they had before there were these
    check_products(check);
    check_norms(check);
    check_ropes(check);
    check_pictures(check);
    check->random = random;
}
