// Operations on ECF8 weights: the same bits as on the elements, in every backend, however the work is cut; what is
// damaged is found, with its place.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/coded.h"
#include "kernels/cpu/coded.h"
#include "tests/check/check.h"

typedef struct subject {
    ecd_weight plain, coded;
    ecd_coded container;
    uint8_t *elements, *blob;
    uint64_t blob_bytes;
    float *scale;
} subject;

static const ecf8_dtype dtypes[] = {
    [ECD_F16] = ECF8_F16, [ECD_BF16] = ECF8_BF16, [ECD_E4M3] = ECF8_E4M3, [ECD_E5M2] = ECF8_E5M2};

static void *memory_of(size_t size)
{
    void *memory = malloc(size);
    if (!memory)
        abort();
    return memory;
}

static void fill(ecd_check *check, subject *s, size_t count, bool constant)
{
    size_t size = ecd_dtype_size(s->plain.dtype);
    for (size_t i = 0; i < count; i++) {
        float v = constant ? 0.5f : ecd_check_random(check);
        uint16_t half = s->plain.dtype == ECD_F16 ? ecd_to_f16(v) : ecd_to_bf16(v);
        uint8_t byte = s->plain.dtype == ECD_E4M3 ? ecd_to_e4m3(v) : ecd_to_e5m2(v);
        memcpy(s->elements + i * size, size == 2 ? (void *)&half : (void *)&byte, size);
    }
}

static void make(ecd_check *check, subject *s, ecd_dtype dtype, int64_t rows, int64_t cols, uint32_t tile,
                 ecf8_density density, bool constant)
{
    uint64_t count = (uint64_t)(rows * cols);
    ecf8_params params = {dtypes[dtype], (uint64_t)rows, (uint64_t)cols, density, tile};
    uint64_t bound = ecf8_encode_bound(count, &params), plan_bytes = ecf8_plan_bytes(count, &params);
    void *plan = memory_of(plan_bytes);
    *s = (subject){.plain = {dtype, NULL, rows, cols, ECD_SCALE_ROW, NULL, NULL}};
    s->elements = memory_of(count * ecd_dtype_size(dtype));
    s->blob = memory_of(bound);
    s->scale = memory_of((size_t)rows * sizeof *s->scale);
    ecd_check_fill(check, s->scale, (size_t)rows, false);
    fill(check, s, count, constant);
    ecf8_error error = {0};
    bool ok = !ecf8_encode(s->elements, count, &params, plan, plan_bytes, s->blob, bound, &s->blob_bytes) &&
              !ecf8_open(s->blob, s->blob_bytes, &s->container.view, &error);
    ecd_check_true(check, "a container is made", ok);
    free(plan);
    s->container.dtype = dtype;
    s->container.count = count;
    s->container.place = (ecd_coded_place){"a.weight", "a.safetensors", 1000, true};
    s->plain.data = s->elements;
    s->plain.scale = s->scale;
    s->coded = s->plain;
    s->coded.data = s->blob;
    s->coded.coded = &s->container;
}

static void release(subject *s)
{
    free(s->elements);
    free(s->blob);
    free(s->scale);
}

static void run(ecd_backend *be, const ecd_weight *w, int64_t pictures, int64_t rows, const void *x, float *out)
{
    const ecd_linear op = {.w = w, .pictures = pictures, .rows = rows, .x = x, .out = out, .out_f32 = true};
    be->ops->linear(be, &op);
}

static void compare(ecd_check *check, subject *s, int64_t pictures, int64_t rows, const char *what)
{
    size_t in = (size_t)(pictures * rows * s->plain.cols), out = (size_t)(pictures * rows * s->plain.rows);
    ecd_backend *all[] = {check->ref, check->one, check->two};
    float *x = ecd_check_values(check, in), *plain = memory_of(out * sizeof *plain), *coded = memory_of(out * sizeof *x);
    for (int b = 0; b < 3; b++) {
        ecd_guarded act = ecd_guarded_new(in * all[b]->act_bytes, all[b]->act_bytes);
        ecd_check_as_act(all[b], x, in, act.data);
        run(all[b], &s->plain, pictures, rows, act.data, plain);
        atomic_store(&s->container.proven, false);
        for (int use = 0; use < 2; use++) { // checked, then trusted
            memset(coded, 0xff, out * sizeof *coded);
            run(all[b], &s->coded, pictures, rows, act.data, coded);
            char text[160];
            snprintf(text, sizeof text, "ECF8 %s %lldx%lld in %s with %d threads", what, (long long)pictures,
                     (long long)rows, all[b]->name, all[b]->threads);
            ecd_check_true(check, text, !memcmp(plain, coded, out * sizeof *plain));
            ecd_check_true(check, "what was used is proven and timed",
                           atomic_load(&s->container.proven) && atomic_load(&s->container.use_ns));
        }
        ecd_guarded_free(&act);
    }
    free(x);
    free(plain);
    free(coded);
}

static void products(ecd_check *check)
{
    static const struct {
        int64_t rows, cols;
        uint32_t tile;
    } shapes[] = {{1, 1, 128}, {33, 130, 128}, {200, 96, 1024}, {129, 257, 4096}, {384, 192, 0}, {700, 384, 65536}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (ecd_dtype dtype = ECD_F16; dtype <= ECD_E5M2; dtype++) {
            subject s;
            char what[80];
            snprintf(what, sizeof what, "%s [%lld, %lld]", ecd_dtype_name(dtype), (long long)shapes[i].rows,
                     (long long)shapes[i].cols);
            make(check, &s, dtype, shapes[i].rows, shapes[i].cols, shapes[i].tile, (ecf8_density)(i % 3),
                 i == 1 && dtype == ECD_E5M2);
            compare(check, &s, 1, 2, what);
            compare(check, &s, 2, 3, what);
            compare(check, &s, 2, 37, what);
            if (i == 2)
                compare(check, &s, 1, 600, what);
            release(&s);
        }
}

static void tables_and_convolutions(ecd_check *check)
{
    enum { ROWS = 40, COLS = 90, COUNT = 7 };
    static const int64_t ids[COUNT] = {0, 39, 3, 3, 17, 38, 1};
    ecd_backend *all[] = {check->ref, check->one, check->two};
    subject s;
    make(check, &s, ECD_BF16, ROWS, COLS, 256, ECF8_DENSITY_FAST, false);
    for (int b = 0; b < 3; b++) {
        float plain[COUNT * COLS] = {0}, coded[COUNT * COLS] = {0};
        uint16_t elements[ROWS * COLS];
        all[b]->ops->add_rows(all[b], &s.plain, ids, COUNT, plain);
        all[b]->ops->add_rows(all[b], &s.coded, ids, COUNT, coded);
        ecd_check_true(check, "rows of an ECF8 table", !memcmp(plain, coded, sizeof plain));
        all[b]->ops->expand(all[b], &s.coded, elements);
        ecd_check_true(check, "ECF8 expanded", !memcmp(elements, s.elements, sizeof elements));
        ecd_conv_shape shape = {.in_channels = 10, .out_channels = ROWS, .kernel = 3, .stride = 1, .pad_before = 1,
                                .pad_after = 1};
        float *x = ecd_check_values(check, 16 * 10), out[2][16 * ROWS];
        ecd_guarded act = ecd_guarded_new(16 * 10 * all[b]->act_bytes, all[b]->act_bytes);
        ecd_check_as_act(all[b], x, 16 * 10, act.data);
        for (int form = 0; form < 2; form++) {
            ecd_conv_weight *w = all[b]->ops->conv_prepare(all[b], &shape, form ? &s.coded : &s.plain, NULL);
            ecd_conv op = {.w = w, .height = 4, .width = 4, .x = act.data, .out = out[form], .out_f32 = true};
            all[b]->ops->conv(all[b], &op);
            all[b]->ops->conv_free(all[b], w);
        }
        ecd_check_true(check, "a convolution of ECF8 weights", !memcmp(out[0], out[1], sizeof out[0]));
        free(x);
        ecd_guarded_free(&act);
    }
    release(&s);
}

// A changed bit in the last tile's words: found at the first use, and at each where every use is to check.
static void damage(ecd_check *check)
{
    subject s;
    float x[2 * 300] = {0}, out[2 * 500];
    make(check, &s, ECD_E4M3, 500, 300, 4096, ECF8_DENSITY_FAST, false);
    s.blob[s.blob_bytes - s.blob_bytes / 8] ^= 4;
    for (int variant = 0; variant < 4; variant++) {
        ecd_backend *be;
        ecd_diag diag = {0};
        ecd_backend_options options = {.name = variant & 1 ? "ref" : "cpu",
                                       .compute = ECD_COMPUTE_F32,
                                       .threads = variant & 1 ? 1 : 2};
        s.container.check = variant & 2;
        atomic_store(&s.container.proven, variant & 2);
        if (ecd_backend_open(&options, &be, &diag))
            abort();
        run(be, &s.coded, 1, 2, x, out);
        ecd_check_true(check, "damaged ECF8 is found", ecd_backend_check(be, &diag) == ECD_DATA);
        ecd_check_true(check, "and its place named", !strcmp(diag.tensor, "a.weight") &&
                                                         !strcmp(diag.file, "a.safetensors") && diag.has_offset &&
                                                         diag.offset_bytes > 1000);
        ecd_check_true(check, "and not taken as proven", (variant & 2) || !atomic_load(&s.container.proven));
        ecd_backend_close(be);
    }
    release(&s);
}

// Parts cover all rows once, in order, whatever the sizes; and where tiles end at rows, most cuts are there.
static void cuts(ecd_check *check)
{
    static const uint64_t tiles[] = {1, 128, 4096, 16384, 65536};
    bool in_order = true;
    for (int64_t rows = 1; rows < 5000; rows += rows / 3 + 1)
        for (int64_t cols = 1; cols < 20000; cols += cols / 2 + 7)
            for (int i = 0; i < 60; i++) {
                ecd_coded coded = {.view.tile_weights = (uint32_t)tiles[i % 5]};
                const ecd_weight w = {.rows = rows, .cols = cols, .coded = &coded};
                int64_t step = i % 3 == 0 ? 1 : i % 3 == 1 ? 16 : 64;
                ecd_cpu_cut cut = ecd_cpu_cut_of(&w, step, 1 + i * 10, 1 + i % 7);
                int64_t most = ecd_cpu_cut_most(&cut);
                in_order &= ecd_cpu_cut_at(&cut, 0) == 0 && ecd_cpu_cut_at(&cut, cut.parts) == rows;
                for (int64_t part = 0; part < cut.parts; part++) {
                    int64_t first = ecd_cpu_cut_at(&cut, part), next = ecd_cpu_cut_at(&cut, part + 1);
                    in_order &= first < next && next - first <= most && first % step == 0;
                }
            }
    ecd_check_true(check, "parts cover all rows in order", in_order);
    ecd_coded coded = {.view.tile_weights = 65536};
    const ecd_weight w = {.rows = 4000, .cols = 1024, .coded = &coded};
    ecd_cpu_cut cut = ecd_cpu_cut_of(&w, 16, 128, 2);
    bool at_tiles = cut.parts > 8;
    for (int64_t part = 0; part < cut.parts; part++)
        at_tiles &= ecd_cpu_cut_at(&cut, part) % 64 == 0 || part * 2 == cut.parts;
    ecd_check_true(check, "parts begin where tiles do", at_tiles);
}

void ecd_check_coded(ecd_check *check)
{
    uint64_t random = check->random; // what is checked after this does not change with it
    products(check);
    tables_and_convolutions(check);
    damage(check);
    cuts(check);
    check->random = random;
}
