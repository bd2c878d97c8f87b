#include "tests/unit/store_model.h"

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/compress.h"
#include "weights/tree.h"
#include "weights/writer.h"

static const ecd_tensor_spec specs[] = {
    {.name = "a.weight", .kind = ECD_SPEC_MATRIX, .dims = 2, .shape = {ROWS, COLS}},
    {.name = "b.weight", .kind = ECD_SPEC_MATRIX, .dims = 2, .shape = {ROWS, COLS16}, .share = 0.25},
    {.name = "b.bias", .kind = ECD_SPEC_VECTOR, .dims = 1, .shape = {ROWS}},
    {.name = "c.bias", .kind = ECD_SPEC_VECTOR, .dims = 1, .shape = {ROWS}, .optional = true},
};
enum { SPECS = sizeof specs / sizeof *specs };

static const char *const prefixes[BLOCKS] = {"blocks.0.", "blocks.1.", "blocks.2.", "blocks.3.", "blocks.4."};

// A sum of uniforms is near enough to a Gauss bell for exponents that code well.
static float draw(void)
{
    float sum = 0;
    for (int i = 0; i < 6; i++)
        sum += (float)rand() / (float)RAND_MAX - 0.5f;
    return sum * 0.05f;
}

static void add(ecd_tensors_writer *w, const char *prefix, const char *name, ecd_dtype dtype, int64_t rows,
                int64_t cols, const void *data)
{
    ecd_diag diag = {0};
    char full[64];
    int64_t shape[2] = {rows, cols};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    assert_int_equal(ecd_tensors_writer_add(w, full, dtype, shape, cols ? 2 : 1, data,
                                            (uint64_t)rows * (uint64_t)(cols ? cols : 1) * ecd_dtype_size(dtype),
                                            &diag),
                     ECD_OK);
}

static void write_raw(model *m)
{
    ecd_diag diag = {0};
    ecd_tensors_writer w;
    char path[192];
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", m->raw);
    assert_int_equal(ecd_tensors_writer_open(path, 8192, NULL, &w, &diag), ECD_OK);
    for (int b = 0; b < BLOCKS; b++) {
        add(&w, prefixes[b], "a.weight", ECD_E4M3, ROWS, COLS, m->fp8[b]);
        add(&w, prefixes[b], "a.weight_scale", ECD_F32, ROWS, 1, m->scale[b]);
        add(&w, prefixes[b], "b.weight", ECD_BF16, ROWS, COLS16, m->bf16[b]);
        add(&w, prefixes[b], "b.bias", ECD_BF16, ROWS, 0, m->bias[b]);
    }
    assert_int_equal(ecd_tensors_writer_commit(&w, &diag), ECD_OK);
}

int set_up_model(void **state)
{
    model *m = calloc(1, sizeof *m);
    ecd_diag diag = {0};
    ecd_compress_options options = {0};
    ecd_work_report report;
    srand(7);
    for (int b = 0; b < BLOCKS; b++) {
        for (int i = 0; i < ROWS * COLS; i++)
            m->fp8[b][i] = ecd_to_e4m3(draw());
        for (int i = 0; i < ROWS * COLS16; i++)
            m->bf16[b][i] = ecd_to_bf16(draw());
        for (int i = 0; i < ROWS; i++) {
            m->bias[b][i] = ecd_to_bf16(draw());
            m->scale[b][i] = 0.5f + (float)i;
        }
    }
    snprintf(m->raw, sizeof m->raw, "test_store_XXXXXX");
    if (!mkdtemp(m->raw))
        return -1;
    snprintf(m->coded, sizeof m->coded, "%s.coded", m->raw);
    write_raw(m);
    assert_int_equal(ecd_compress(m->raw, m->coded, &options, &report, &diag), ECD_OK);
    assert_true(report.tensors_coded >= 2 * BLOCKS);
    *state = m;
    return 0;
}

int tear_down_model(void **state)
{
    model *m = *state;
    ecd_folder_remove(m->raw);
    ecd_folder_remove(m->coded);
    free(m);
    return 0;
}

ecd_status open_store(const char *folder, ecd_store_options options, bool first_resident, opened *o, ecd_diag *diag)
{
    ecd_backend *be = NULL;
    ecd_backend_options backend = {.name = "ref", .threads = 1};
    assert_int_equal(ecd_backend_open(&backend, &be, diag), ECD_OK);
    return open_store_on(be, folder, options, first_resident, o, diag);
}

ecd_status open_store_on(ecd_backend *be, const char *folder, ecd_store_options options, bool first_resident, opened *o,
                         ecd_diag *diag)
{
    ecd_block_spec blocks[BLOCKS];
    for (int b = 0; b < BLOCKS; b++)
        blocks[b] = (ecd_block_spec){.prefix = prefixes[b], .tensors = specs, .count = SPECS};
    blocks[0].resident = first_resident;
    *o = (opened){.be = be};
    ecd_status status = ecd_checkpoint_open(folder, &o->cp, diag);
    return status ? status : ecd_store_open(o->cp, o->be, blocks, BLOCKS, &options, &o->store, diag);
}

void close_store(opened *o)
{
    ecd_store_close(o->store);
    ecd_checkpoint_close(o->cp);
    ecd_backend_close(o->be);
}

ecd_status expand_weight(const opened *o, const ecd_weight *weight, void *elements, ecd_diag *diag)
{
    o->be->ops->expand(o->be, weight, elements);
    ecd_status status = ecd_backend_check(o->be, diag);
    o->be->failure.status = ECD_OK;
    return status;
}

static void check_weight(const opened *o, const ecd_weight *weight, const void *expected, size_t size)
{
    ecd_diag diag = {0};
    void *elements = malloc(size);
    assert_non_null(elements);
    assert_int_equal(weight->rows * weight->cols * (int64_t)ecd_dtype_size(weight->dtype), size);
    assert_int_equal(expand_weight(o, weight, elements, &diag), ECD_OK);
    assert_memory_equal(elements, expected, size);
    free(elements);
}

void check_block(const model *m, const opened *o, int b, const ecd_block *got)
{
    assert_int_equal(got->weights[0].dtype, ECD_E4M3);
    assert_int_equal(got->weights[0].rows, ROWS);
    assert_int_equal(got->weights[0].cols, COLS);
    assert_int_equal(got->weights[0].scale_kind, ECD_SCALE_ROW);
    check_weight(o, &got->weights[0], m->fp8[b], sizeof m->fp8[b]);
    assert_memory_equal(got->weights[0].scale, m->scale[b], sizeof m->scale[b]);
    check_weight(o, &got->weights[1], m->bf16[b], sizeof m->bf16[b]);
    for (int i = 0; i < ROWS; i++)
        assert_true(got->vectors[2][i] == ecd_from_bf16(m->bias[b][i]));
    assert_null(got->vectors[3]);
    assert_null(got->weights[3].data);
}
