// Synthetic tensors as a safetensors file: drawn row by row, rounded, and written each to its place by any thread.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/synthetic_internal.h"
#include "weights/crew.h"
#include "weights/quantize.h"
#include "weights/writer.h"

enum {
    ROWS_BYTES = 1 << 20, // of floats, that are drawn at once
    ENTRY_BYTES = 256,    // of the header, for a tensor and its scale
    HEADER_BYTES = 4096,
};

typedef struct item {
    const ecd_synthetic_tensor *tensor;
    bool quantized;
    uint64_t at_bytes, scale_at_bytes; // places in the file
} item;

typedef struct work {
    ecd_tensors_writer writer;
    const ecd_synthetic_table *table;
    const ecd_synthetic_watch *watch;
    item *items;
    size_t count, next, finished;
    bool stop;
} work;

// Embeddings and the table of T5's distances are looked up, not multiplied with.
static bool is_quantized(const ecd_synthetic_tensor *t, bool quantized)
{
    bool block = strstr(t->name, "_blocks.") || strstr(t->name, ".block.");
    return quantized && block && t->dims == 2 && !strstr(t->name, "relative_attention_bias");
}

static uint64_t tensor_bytes(const ecd_synthetic_tensor *t, bool quantized)
{
    uint64_t count = ecd_synthetic_elements(t);
    return is_quantized(t, quantized) ? count + (uint64_t)t->shape[0] * sizeof(float) : 2 * count;
}

uint64_t ecd_synthetic_file_bytes(const ecd_synthetic_list *list, bool quantized)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < list->count; i++)
        sum += tensor_bytes(&list->tensors[i], quantized);
    return sum;
}

static ecd_claim claim(void *opaque, ecd_task *task)
{
    work *w = opaque;
    if (w->next == w->count)
        return w->finished == w->count ? ECD_CLAIM_END : ECD_CLAIM_WAIT;
    task->item = &w->items[w->next++];
    return ECD_CLAIM_TASK;
}

// `rows` rows from `first` on: drawn to `drawn`, rounded to `out`.
static ecd_status put_rows(work *w, const item *it, ecd_synthetic_draw *draw, int64_t first, int64_t rows, float *drawn,
                           uint8_t *out, float *scale, ecd_diag *diag)
{
    int64_t cols = (int64_t)(ecd_synthetic_elements(it->tensor) / (uint64_t)it->tensor->shape[0]);
    size_t count = (size_t)(rows * cols), element = it->quantized ? 1 : 2;
    ecd_synthetic_draw_take(draw, drawn, count);
    if (it->quantized) {
        const ecd_tensor piece = {.name = it->tensor->name,
                                  .dtype = ECD_F32,
                                  .dims = 2,
                                  .shape = {rows, cols},
                                  .count = count,
                                  .data = (const uint8_t *)drawn,
                                  .size_bytes = count * sizeof *drawn};
        ecd_status status = ecd_quantize_rows(&piece, 0, rows, out, scale + first, diag);
        if (status)
            return status;
    } else {
        for (size_t i = 0; i < count; i++) {
            uint16_t bits = ecd_to_bf16(drawn[i]);
            memcpy(out + 2 * i, &bits, sizeof bits);
        }
    }
    return ecd_writer_patch(&w->writer.file, it->at_bytes + (uint64_t)(first * cols) * element, out, count * element,
                            diag);
}

static ecd_status run(void *opaque, const ecd_task *task, ecd_diag *diag)
{
    work *w = opaque;
    const item *it = task->item;
    int64_t rows = it->tensor->shape[0], cols = (int64_t)(ecd_synthetic_elements(it->tensor) / (uint64_t)rows);
    int64_t step = ROWS_BYTES / ((int64_t)sizeof(float) * cols);
    step = step < 1 ? 1 : step > rows ? rows : step;
    float *drawn = malloc((size_t)(step * cols) * sizeof *drawn), *scale = malloc((size_t)rows * sizeof *scale);
    uint8_t *out = malloc((size_t)(step * cols) * 2);
    ecd_synthetic_draw draw;
    ecd_status status = drawn && scale && out ? ECD_OK : ecd_fail_memory(diag, ROWS_BYTES, "rows of a tensor");
    ecd_synthetic_draw_begin(&draw, w->table, it->tensor);
    for (int64_t first = 0; !status && first < rows; first += step)
        status = put_rows(w, it, &draw, first, rows - first < step ? rows - first : step, drawn, out, scale, diag);
    if (!status && it->quantized)
        status = ecd_writer_patch(&w->writer.file, it->scale_at_bytes, scale, (size_t)rows * sizeof *scale, diag);
    free(drawn);
    free(scale);
    free(out);
    return status;
}

static void finish(void *opaque, const ecd_task *task)
{
    work *w = opaque;
    const item *it = task->item;
    w->finished++;
    w->stop |= w->watch->told(w->watch->user, tensor_bytes(it->tensor, it->quantized));
}

static bool tick(void *opaque)
{
    return ((work *)opaque)->stop;
}

// Names and places of all, before any is drawn.
static ecd_status place(work *w, const ecd_synthetic_list *list, bool quantized, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < list->count; i++) {
        const ecd_synthetic_tensor *t = &list->tensors[i];
        item *it = &w->items[w->count++];
        char name[ECD_SYNTHETIC_NAME + 8];
        const int64_t column[2] = {t->shape[0], 1};
        *it = (item){.tensor = t, .quantized = is_quantized(t, quantized)};
        uint64_t size = ecd_synthetic_elements(t) * (it->quantized ? 1 : 2);
        status = ecd_tensors_writer_place(&w->writer, t->name, ecd_dtype_name(it->quantized ? ECD_E4M3 : ECD_BF16),
                                          t->shape, t->dims, size, &it->at_bytes, diag);
        if (status || !it->quantized)
            continue;
        snprintf(name, sizeof name, "%s_scale", t->name);
        status = ecd_tensors_writer_place(&w->writer, name, ecd_dtype_name(ECD_F32), column, 2,
                                          (uint64_t)t->shape[0] * sizeof(float), &it->scale_at_bytes, diag);
    }
    return status;
}

ecd_status ecd_synthetic_write_file(const char *path, const ecd_synthetic_list *list, bool quantized,
                                    const ecd_synthetic_table *table, const ecd_synthetic_watch *watch, ecd_diag *diag)
{
    static const ecd_crew_calls calls = {claim, run, finish, tick};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    work w = {.table = table, .watch = watch};
    w.items = calloc(list->count + 1, sizeof *w.items);
    if (!w.items)
        return ecd_fail_memory(diag, list->count * sizeof *w.items, "a list of tensors");
    ecd_status status = ecd_tensors_writer_open(path, HEADER_BYTES + ENTRY_BYTES * list->count, NULL, &w.writer, diag);
    if (status) {
        free(w.items);
        return status;
    }
    status = ecd_writer_flush(&w.writer.file, diag);
    if (!status)
        status = place(&w, list, quantized, diag);
    if (!status)
        status = ecd_crew_run(&calls, &w, processors > 0 ? (unsigned)processors : 1, diag);
    if (status)
        ecd_tensors_writer_abandon(&w.writer);
    else
        status = ecd_tensors_writer_commit(&w.writer, diag);
    free(w.items);
    return status;
}
