#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

typedef struct layout_case {
    int64_t batch, channels, height, width;
    int patch;
    bool channels_first;
} layout_case;

static void run_patchify(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    const layout_case *c = parameters;
    be->ops->patchify(be, x, c->batch, c->channels, c->height, c->width, c->patch, out);
}

static void run_unpatchify(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    const layout_case *c = parameters;
    be->ops->unpatchify(be, x, c->batch, c->channels, c->height, c->width, c->patch, c->channels_first, out);
}

static void run_channels_last(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    const layout_case *c = parameters;
    be->ops->to_channels_last(be, x, c->channels, c->height * c->width, out);
}

static void run_channels_first(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    const layout_case *c = parameters;
    be->ops->to_channels_first(be, x, c->channels, c->height * c->width, out);
}

static void check_patches(ecd_check *check)
{
    static const layout_case cases[] = {{1, 1, 1, 1, 1, false}, {2, 3, 4, 6, 2, false}, {1, 8, 16, 16, 2, false}, {3, 5, 9, 6, 3, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const layout_case *c = &cases[i];
        size_t picture = (size_t)(c->channels * c->height * c->width), count = (size_t)c->batch * picture;
        float *x = ecd_check_values(check, count);
        ecd_check_run(check, &(ecd_check_case){"patchify", run_patchify, c, x, false, true, count, count});
        ecd_check_run(check, &(ecd_check_case){"unpatchify", run_unpatchify, c, x, false, false, count, count});
        layout_case first = *c;
        first.channels_first = true;
        ecd_check_run(check, &(ecd_check_case){"unpatchify, channels first", run_unpatchify, &first, x, false, false, count,
                                               count});
        ecd_check_run(check, &(ecd_check_case){"to_channels_last", run_channels_last, c, x, false, true, picture, picture});
        ecd_check_run(check,
                      &(ecd_check_case){"to_channels_first", run_channels_first, c, x, false, false, picture, picture});
        free(x);
    }
}

static void run_to_act(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    be->ops->to_act(be, x, *(const int64_t *)parameters, false, out);
}

static void run_silu(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    be->ops->to_act(be, x, *(const int64_t *)parameters, true, out);
}

static void run_to_f32(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    be->ops->to_f32(be, x, *(const int64_t *)parameters, out);
}

static void check_conversions(ecd_check *check)
{
    static const int64_t counts[] = {1, 37, 50003}; // the last takes several parts
    for (int i = 0; i < 3; i++) {
        size_t count = (size_t)counts[i];
        float *x = ecd_check_values(check, count);
        ecd_check_run(check, &(ecd_check_case){"to_act", run_to_act, &counts[i], x, false, true, count, count});
        ecd_check_run(check, &(ecd_check_case){"silu", run_silu, &counts[i], x, false, true, count, count});
        ecd_check_run(check, &(ecd_check_case){"to_f32", run_to_f32, &counts[i], x, true, false, count, count});
        free(x);
    }
}

typedef struct table_case {
    ecd_weight table;
    const int64_t *ids;
    int64_t count;
} table_case;

// Adds to what x holds, so that the sum and not the row alone is compared.
static void run_add_rows(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    const table_case *c = parameters;
    memcpy(out, x, (size_t)(c->count * c->table.cols) * sizeof(float));
    be->ops->add_rows(be, &c->table, c->ids, c->count, out);
}

static void check_add_rows(ecd_check *check)
{
    static const int64_t ids[] = {0, 199, 3, 3, 130}, widths[] = {1, 37, 384};
    float *scales = ecd_check_values(check, 1024);
    for (int i = 0; i < 3; i++)
        for (ecd_dtype dtype = ECD_F32; dtype <= ECD_E5M2; dtype++)
            for (ecd_scale_kind kind = ECD_SCALE_NONE; kind <= ECD_SCALE_BLOCK; kind++) {
                size_t elements = 200 * (size_t)widths[i], size = ecd_dtype_size(dtype);
                float *values = ecd_check_values(check, elements), *x = ecd_check_values(check, 5 * (size_t)widths[i]);
                char *data = malloc(elements * size);
                for (size_t e = 0; e < elements; e++) {
                    uint16_t half = dtype == ECD_F16 ? ecd_to_f16(values[e]) : ecd_to_bf16(values[e]);
                    uint8_t byte = dtype == ECD_E4M3 ? ecd_to_e4m3(values[e]) : ecd_to_e5m2(values[e]);
                    memcpy(data + e * size,
                           size == 4 ? (void *)&values[e] : size == 2 ? (void *)&half : (void *)&byte, size);
                }
                table_case c = {{dtype, data, 200, widths[i], kind, kind ? scales : NULL, NULL}, ids, 5};
                size_t count = 5 * (size_t)widths[i];
                ecd_check_run(check, &(ecd_check_case){"add_rows", run_add_rows, &c, x, false, false, count, count});
                free(values);
                free(x);
                free(data);
            }
    free(scales);
}

void ecd_check_layout(ecd_check *check)
{
    check_patches(check);
    check_conversions(check);
    check_add_rows(check);
    ecd_check_combine(check);
}
