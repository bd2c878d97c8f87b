// The text that bench draws with models of texts: encoded once, before anything is measured, and handed to the processes
// that measure in a file. So both paths draw from the same embeddings, and figures are the transformer's and the VAE's.
#define _GNU_SOURCE
#include "app/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/common.h"
#include "app/generate.h"
#include "app/open_backend.h"
#include "lib/budget.h"
#include "lib/model_defaults.h"

static size_t floats_of(const ecd_transformer_info *info)
{
    return (size_t)(ecd_model_max_tokens(info) * info->text_width + info->pooled_width);
}

static ecd_status make_file(ecd_bench *b, ecd_diag *diag)
{
    if (!(b->texts_file = ecd_temporary_name()))
        return ecd_fail_memory(diag, 0, "a path");
    int fd = mkstemp(b->texts_file);
    if (fd < 0) {
        ecd_status status = ecd_fail_errno(diag, b->texts_file, "create");
        free(b->texts_file);
        b->texts_file = NULL;
        return status;
    }
    close(fd);
    return ECD_OK;
}

static ecd_status encode(const ecd_model_folder *folder, const ecd_transformer_info *info, ecd_backend *be, float *out,
                         ecd_diag *diag)
{
    ecd_texts *texts = NULL;
    ecd_texts_cut cut;
    size_t index = 0;
    char *rates = ecd_rates_file();
    const ecd_texts_reading reading = {
        .backend = be, .budget_bytes = ecd_default_budget(be), .rates_file = rates, .cancel = ecd_interrupt_flag()};
    ecd_status status = ecd_texts_open(folder, info, ecd_model_max_tokens(info), &texts, diag);
    if (!status)
        status = ecd_texts_add(texts, ECD_BENCH_PROMPT, &index, &cut, diag);
    if (!status) {
        ecd_texts_need(texts, index);
        status = ecd_texts_read(texts, &reading, diag);
    }
    if (!status)
        status = ecd_texts_take(texts, index, out, out + ecd_model_max_tokens(info) * info->text_width, diag);
    free(rates);
    ecd_texts_close(texts);
    return status;
}

ecd_status ecd_bench_make_text(ecd_bench *b, const ecd_model_folder *folder, const ecd_transformer_info *info, ecd_diag *diag)
{
    const ecd_bench_settings *s = &b->settings;
    size_t bytes = floats_of(info) * sizeof(float);
    ecd_backend *be = NULL;
    float *values = malloc(bytes);
    ecd_status status = values ? ecd_app_backend_open(s->backend, s->compute, (int)s->threads, &be, diag)
                               : ecd_fail_memory(diag, bytes, "a text");
    if (!status)
        status = encode(folder, info, be, values, diag);
    if (!status)
        status = make_file(b, diag);
    if (!status)
        status = ecd_file_write(b->texts_file, values, bytes, diag);
    ecd_backend_close(be);
    free(values);
    return status;
}

ecd_status ecd_bench_take_text(const char *file, const ecd_transformer_info *info, float **out, ecd_diag *diag)
{
    size_t bytes = floats_of(info) * sizeof(float);
    ecd_file mapped = {0};
    *out = NULL;
    ecd_status status = file ? ecd_file_map(file, &mapped, diag) : ecd_fail(diag, ECD_USAGE, "bench-run: expected --text FILE");
    if (!status && mapped.size_bytes != bytes)
        status = ecd_fail(diag, ECD_DATA, "a text of %llu bytes, expected %zu", (unsigned long long)mapped.size_bytes, bytes);
    if (!status && !(*out = malloc(bytes)))
        status = ecd_fail_memory(diag, bytes, "a text");
    if (!status)
        memcpy(*out, mapped.data, bytes);
    ecd_file_unmap(&mapped);
    return status;
}
