#define _GNU_SOURCE
#include "weights/store_internal.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cpu.h"
#include "base/process.h"
#include "weights/json.h"

enum {
    DECODE_BYTES = 8 << 20, // decoded and read to measure: some hundredths of a second
    READ_BYTES = 32 << 20,
    PRODUCT_ROWS = 128,
    PRODUCT_SIDE = 512,
    PRODUCT_TIMES = 3,
    PRODUCT_NS = 20 * 1000 * 1000,
    KEY_SIZE = 512,
    MAX_ENTRIES = 64,
    MAX_FILE = 1 << 16,
    MAX_AGE_S = 30 * 24 * 3600,
};

// ---- measuring

static double rate(uint64_t amount, uint64_t start_ns)
{
    uint64_t spent = ecd_now_ns() - start_ns;
    return (double)amount * 1e9 / (double)(spent ? spent : 1);
}

static ecd_status measure_decode(ecd_store *store, double *out, ecd_diag *diag)
{
    uint64_t largest = 0, decoded = 0, spent = 0;
    for (int i = 0; i < store->unit_count; i++)
        if (store->units[i].form == ECD_UNIT_CODED && store->units[i].decoded_bytes > largest)
            largest = store->units[i].decoded_bytes;
    if (!largest)
        return ECD_OK;
    uint8_t *to = malloc(largest), *tables = malloc(ECF8_DECODER_MAX_BYTES);
    ecd_status status = ECD_OK;
    if (!to || !tables)
        status = ecd_fail_memory(diag, largest, "measuring how fast weights decode");
    for (int i = 0; !status && i < store->unit_count && decoded < DECODE_BYTES; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED)
            continue;
        if (!unit->own_blob && unit->tensor->file)
            ecd_store_populate(unit->tensor);
        uint64_t start = ecd_now_ns();
        status = ecd_coded_decode(&unit->coded, to, false, tables, ECF8_DECODER_MAX_BYTES, diag);
        spent += ecd_now_ns() - start;
        decoded += unit->decoded_bytes;
    }
    free(to);
    free(tables);
    if (decoded)
        *out = (double)decoded * 1e9 / (double)(spent ? spent : 1);
    return status;
}

// The first matrix that lies in a file.
static const ecd_tensor *first_in_file(const ecd_store *store)
{
    for (int i = 0; i < store->unit_count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if ((unit->form == ECD_UNIT_CODED || unit->form == ECD_UNIT_VIEW) && unit->tensor->file && !unit->own_blob)
            return unit->tensor;
    }
    return NULL;
}

// Its file from there on, past the page cache.
static ecd_status measure_read(const ecd_store *store, double *out, ecd_diag *diag)
{
    const ecd_tensor *first = first_in_file(store);
    if (!first)
        return ECD_OK;
    uint64_t size = first->file->size_bytes, at = first->offset_bytes / ECD_DIRECT_ALIGN * ECD_DIRECT_ALIGN;
    uint64_t end = size - at < READ_BYTES ? size : at + READ_BYTES, amount = end - at;
    ecd_direct_file file = {.fd = -1};
    uint8_t *memory = aligned_alloc(ECD_DIRECT_ALIGN, ECD_STORE_PIECE);
    ecd_status status = memory ? ecd_direct_open(first->file->path, size, &file, diag)
                               : ecd_fail_memory(diag, ECD_STORE_PIECE, "measuring how fast weights are read");
    uint64_t start = ecd_now_ns();
    for (; !status && at < end; at += ECD_STORE_PIECE)
        status = ecd_direct_read(&file, at, end - at < ECD_STORE_PIECE ? end - at : ECD_STORE_PIECE, memory, diag);
    if (!status)
        *out = rate(amount, start);
    ecd_direct_close(&file);
    free(memory);
    return status;
}

// A device is kept busy by products as large as the model's alone: of its largest matrix and a picture's rows.
static void choose_product(const ecd_store *store, ecd_weight *w, int64_t *rows)
{
    *w = (ecd_weight){.dtype = ECD_E4M3, .rows = PRODUCT_SIDE, .cols = PRODUCT_SIDE};
    *rows = PRODUCT_ROWS;
    for (int i = 0; store->on_device && i < store->unit_count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        bool matrix = unit->form == ECD_UNIT_CODED || unit->form == ECD_UNIT_KEPT;
        if (!matrix || (*rows != PRODUCT_ROWS && unit->rows * unit->cols <= w->rows * w->cols))
            continue;
        *w = (ecd_weight){.dtype = unit->tensor->dtype, .rows = unit->rows, .cols = unit->cols};
        *rows = ecd_store_picture_rows(store);
    }
}

static ecd_status measure_multiply(ecd_store *store, double *out, ecd_diag *diag)
{
    ecd_backend *be = store->be;
    ecd_weight weight;
    int64_t rows;
    choose_product(store, &weight, &rows);
    size_t x_bytes = (size_t)(rows * weight.cols) * be->act_bytes, out_bytes = (size_t)(rows * weight.rows) * sizeof(float);
    size_t w_bytes = (size_t)(weight.rows * weight.cols) * ecd_dtype_size(weight.dtype);
    void *x = be->ops->alloc(be, x_bytes), *w = be->ops->alloc(be, w_bytes), *y = be->ops->alloc(be, out_bytes);
    uint8_t *host = calloc(1, x_bytes > w_bytes ? x_bytes : w_bytes);
    ecd_status status = ECD_OK;
    if (!x || !w || !y || !host) {
        status = ecd_fail_memory(diag, x_bytes + w_bytes + out_bytes, "measuring how fast products are");
        goto out;
    }
    be->ops->upload(be, x, host, x_bytes);
    memset(host, 0x38, w_bytes); // ones in E4M3, small in other types
    be->ops->upload(be, w, host, w_bytes);
    weight.data = w;
    const ecd_linear op = {.w = &weight, .pictures = 1, .rows = rows, .x = x, .out = y, .out_f32 = true};
    uint64_t begin = ecd_now_ns();
    for (int i = 0; !status && (!i || (i < PRODUCT_TIMES && ecd_now_ns() - begin < PRODUCT_NS)); i++) {
        uint64_t start = ecd_now_ns(); // the best counts: the first also wakes the threads
        be->ops->linear(be, &op);
        status = ecd_backend_check(be, diag);
        double once = rate((uint64_t)(rows * weight.rows * weight.cols), start);
        *out = once > *out ? once : *out;
    }
out:
    free(host);
    if (x)
        be->ops->free(be, x);
    if (w)
        be->ops->free(be, w);
    if (y)
        be->ops->free(be, y);
    return status;
}

// ---- the file of rates. It is a help only: what does not make sense in it is measured anew, and failing to write it
// is no fault. Whatever it says, only times depend on it, never a picture or the budget.

static void make_key(const ecd_store *store, char out[KEY_SIZE])
{
    char cpu[128];
    struct stat info = {0};
    const ecd_tensor *first = first_in_file(store);
    if (!first || stat(first->file->path, &info))
        info.st_dev = 0;
    snprintf(out, KEY_SIZE, "%s; %s; %d threads; device %llx", ecd_cpu_model(cpu, sizeof cpu), store->be->detail,
             store->be->threads, (unsigned long long)info.st_dev);
}

static bool number(const cJSON *entry, const char *key, double least, double most, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= least && item->valuedouble <= most))
        return false;
    *out = item->valuedouble;
    return true;
}

static bool take_entry(const cJSON *root, const char *key, ecd_rates *out)
{
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(root, key);
    double now = (double)time(NULL), when;
    ecd_rates r = {0};
    if (!number(entry, "when", now - MAX_AGE_S, now, &when) || !number(entry, "decode", 1e3, 1e12, &r.decode) ||
        !number(entry, "read", 1e3, 1e12, &r.read) || !number(entry, "multiply", 1e3, 1e16, &r.multiply))
        return false;
    *out = r;
    return true;
}

static cJSON *read_file(const char *path)
{
    ecd_diag unused = {0};
    struct stat info;
    cJSON *root = NULL;
    if (!path || stat(path, &info) || info.st_size > MAX_FILE || ecd_json_read(path, &root, &unused) ||
        !cJSON_IsObject(root) || cJSON_GetArraySize(root) > MAX_ENTRIES) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

static void write_file(const char *path, cJSON *root, const char *key, const ecd_rates *r)
{
    ecd_diag unused = {0};
    cJSON *entry = cJSON_CreateObject();
    bool ok = entry && cJSON_AddNumberToObject(entry, "decode", r->decode) &&
              cJSON_AddNumberToObject(entry, "read", r->read) &&
              cJSON_AddNumberToObject(entry, "multiply", r->multiply) &&
              cJSON_AddNumberToObject(entry, "when", (double)time(NULL));
    cJSON_DeleteItemFromObjectCaseSensitive(root, key);
    if (!ok || !cJSON_AddItemToObject(root, key, entry)) {
        cJSON_Delete(entry);
        return;
    }
    char *text = cJSON_Print(root);
    if (text)
        ecd_file_write(path, text, strlen(text), &unused);
    cJSON_free(text);
}

ecd_status ecd_store_measure(ecd_store *store, ecd_rates *out, ecd_diag *diag)
{
    const char *path = store->options.rates_file;
    char key[KEY_SIZE];
    make_key(store, key);
    cJSON *root = read_file(path);
    if (root && take_entry(root, key, out)) {
        cJSON_Delete(root);
        return ECD_OK;
    }
    ecd_rates r = {.decode = 1e9, .read = 1e9}; // of what the model does not have, no plan asks
    ecd_status status = store->on_device ? ecd_store_device_rates(store, &r, diag) : measure_decode(store, &r.decode, diag);
    if (!status && !store->on_device)
        status = measure_read(store, &r.read, diag);
    if (!status)
        status = measure_multiply(store, &r.multiply, diag);
    if (!status) {
        *out = r;
        if (path && !root)
            root = cJSON_CreateObject();
        if (path && root)
            write_file(path, root, key, &r);
    }
    cJSON_Delete(root);
    return status;
}
