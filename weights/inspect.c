#define _GNU_SOURCE
#include "weights/inspect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/twins.h"

enum { PIECE = 1 << 20 }; // weights read or decoded at once

typedef struct inspection {
    const ecd_inspect_options *options;
    ecd_inspect_callback callback;
    void *opaque;
    ecd_alpha_table *table;
    ecd_diag fault; // the first of a tensor
} inspection;

// Where a tensor's numbers come from, piece by piece, and the scales that belong to them.
typedef struct source {
    const ecd_tensor *tensor;
    ecd_coded coded;
    ecd_coded_decoder decoder;
    uint8_t *tables, *decoded; // owned; NULL for raw tensors
    float *scales;             // owned; NULL where there is none a row or a block
    uint64_t cols, piece;
} source;

static ecd_status open_scales(source *s, ecd_diag *diag)
{
    const ecd_tensor *t = s->tensor, *scale = t->scale;
    bool rows = t->scale_kind == ECD_SCALE_ROW, blocks = t->scale_kind == ECD_SCALE_BLOCK && t->dims == 2;
    if (!scale || !(rows || blocks) || ecd_dtype_size(t->dtype) != 1 || !t->count)
        return ECD_OK;
    s->cols = t->count / (uint64_t)t->shape[0];
    s->scales = malloc(scale->count * sizeof *s->scales + 1);
    if (!s->scales)
        return ecd_fail_memory(diag, scale->count * sizeof *s->scales, "scales");
    ecd_to_f32(scale->dtype, scale->data, s->scales, scale->count);
    return ECD_OK;
}

static ecd_status open_coded(source *s, ecd_inspect_tensor *row, ecd_diag *diag)
{
    const ecd_tensor *t = s->tensor;
    ecd_status status = ecd_coded_open(t, t->data, t->size_bytes, &s->coded, diag);
    if (status)
        return status;
    row->coded = true;
    row->mode = s->coded.view.mode;
    row->published = t->encoding == ECD_ENCODING_PUBLISHED;
    if (s->coded.view.tile_weights && s->coded.view.tile_weights <= PIECE) // whole tiles: none is decoded twice
        s->piece = PIECE / s->coded.view.tile_weights * s->coded.view.tile_weights;
    s->tables = malloc(ECF8_DECODER_MAX_BYTES);
    s->decoded = malloc(s->piece * ecd_dtype_size(t->dtype));
    if (!s->tables || !s->decoded)
        return ecd_fail_memory(diag, s->piece, "a decoded piece");
    return ecd_coded_decoder_init(&s->coded, s->tables, ECF8_DECODER_MAX_BYTES, &s->decoder, diag);
}

static ecd_status open_source(const ecd_tensor *tensor, source *s, ecd_inspect_tensor *row, ecd_diag *diag)
{
    *s = (source){.tensor = tensor, .piece = PIECE};
    ecd_status status = tensor->encoding != ECD_ENCODING_RAW ? open_coded(s, row, diag) : ECD_OK;
    return status ? status : open_scales(s, diag);
}

static void close_source(source *s)
{
    free(s->tables);
    free(s->decoded);
    free(s->scales);
}

static ecd_status read_piece(source *s, uint64_t first, uint64_t n, const uint8_t **out, ecd_diag *diag)
{
    size_t element = ecd_dtype_size(s->tensor->dtype);
    *out = s->decoded ? s->decoded : s->tensor->data + first * element;
    return s->decoded ? ecd_coded_decode_range(&s->coded, &s->decoder, first, n, s->decoded, n * element, true, diag)
                      : ECD_OK;
}

// Counts a piece in stretches that share a scale.
static void count_piece(const source *s, ecd_alpha_counts *counts, const uint8_t *piece, uint64_t first, uint64_t n)
{
    if (!s->scales) {
        ecd_alpha_count(counts, piece, first, n, 1);
        return;
    }
    uint64_t blocks = (s->cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE, end = first + n;
    while (first < end) {
        uint64_t row = first / s->cols, col = first % s->cols, index = row, stop = s->cols;
        if (s->tensor->scale_kind == ECD_SCALE_BLOCK) {
            index = row / ECD_SCALE_BLOCK_SIZE * blocks + col / ECD_SCALE_BLOCK_SIZE;
            stop = (col / ECD_SCALE_BLOCK_SIZE + 1) * ECD_SCALE_BLOCK_SIZE;
            stop = stop < s->cols ? stop : s->cols;
        }
        uint64_t count = stop - col < end - first ? stop - col : end - first;
        ecd_alpha_count(counts, piece, first, count, s->scales[index]);
        piece += count; // of FP8
        first += count;
    }
}

static double entropy(const uint64_t counts[256], double total)
{
    double bits = 0;
    for (int i = 0; i < 256; i++)
        bits -= counts[i] ? (double)counts[i] / total * log2((double)counts[i] / total) : 0;
    return bits;
}

// What ecf8_stats_of says, of counts: a tensor is never whole in memory here.
static void fill_stats(const ecd_alpha_counts *counts, ecf8_stats *out)
{
    unsigned mantissa = ecd_alpha_mantissa_bits(counts->dtype), wide = ecd_dtype_size(counts->dtype) == 2 ? 8 : 0;
    double total = (double)counts->total;
    *out = (ecf8_stats){.count = counts->total};
    for (int s = 0; s < ECD_ALPHA_SLICES; s++)
        for (uint32_t m = 0; m < ECD_ALPHA_MAGNITUDES && m >> mantissa < 256; m++)
            out->exponents[m >> mantissa] += counts->magnitudes[s][m];
    out->exponent_bits = entropy(out->exponents, total);
    out->byte_bits = entropy(counts->high_bytes, total) + wide;
    out->bound_bits = out->exponent_bits + 1 + mantissa;
}

static ecd_status measure(const inspection *in, const ecd_tensor *tensor, ecd_inspect_tensor *row, ecd_diag *diag)
{
    source s;
    ecd_alpha_counts *counts = NULL;
    ecd_status status = open_source(tensor, &s, row, diag);
    bool counted = ecd_coded_dtype(tensor->dtype) && tensor->count;
    if (!status && counted)
        status = ecd_alpha_counts_new(tensor->dtype, tensor->count, s.scales, &counts, diag);
    for (uint64_t first = 0; !status && counted && first < tensor->count; first += s.piece) {
        const uint8_t *piece;
        uint64_t n = tensor->count - first < s.piece ? tensor->count - first : s.piece;
        status = read_piece(&s, first, n, &piece, diag);
        if (status)
            break;
        count_piece(&s, counts, piece, first, n);
        if (!s.decoded && !in->options->what_if) // pages are given back behind
            ecd_file_dont_need(tensor->file, tensor->offset_bytes + first * ecd_dtype_size(tensor->dtype),
                               n * ecd_dtype_size(tensor->dtype));
    }
    if (!status && counted) {
        row->measured = true;
        fill_stats(counts, &row->stats);
        status = ecd_alpha_fit_of(in->table, counts, false, &row->fit, diag);
        if (!status && s.scales)
            status = ecd_alpha_fit_of(in->table, counts, true, &row->scaled, diag);
    }
    ecd_alpha_counts_free(counts);
    close_source(&s);
    return status;
}

// A tensor that is stored under several names shows its bytes at the first.
static bool stored_before(const ecd_checkpoint *cp, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (cp->tensors[index].size_bytes && cp->tensors[i].data == cp->tensors[index].data)
            return true;
    return false;
}

// A file being shown, and what compressing would do with it.
typedef struct shown_file {
    const char *name;
    ecd_checkpoint *cp;
    bool quantize;
    size_t *twins; // owned; NULL: not known
} shown_file;

// Would compressing store the tensor as another name of one before it?
static bool becomes_alias(const shown_file *f, size_t index)
{
    const ecd_tensor *tensors = f->cp->tensors;
    return f->twins && f->twins[index] != index &&
           !(f->quantize && (ecd_what_if_quantizes(&tensors[index]) || ecd_what_if_quantizes(&tensors[f->twins[index]])));
}

static ecd_status what_if(const shown_file *f, size_t index, ecd_inspect_what_if *out, ecd_diag *diag)
{
    if (becomes_alias(f, index)) {
        *out = (ecd_inspect_what_if){0};
        return ECD_OK;
    }
    return ecd_what_if(&f->cp->tensors[index], f->quantize, out, diag);
}

static ecd_status inspect_tensor(inspection *in, const shown_file *f, size_t index, ecd_diag *diag)
{
    const ecd_tensor *tensor = &f->cp->tensors[index];
    bool again = stored_before(f->cp, index);
    ecd_diag fault = {0};
    ecd_inspect_tensor row = {.file = f->name, .tensor = tensor, .table = in->table};
    row.raw_bytes = tensor->count * ecd_dtype_size(tensor->dtype);
    row.stored_bytes = again ? 0 : ecd_tensor_stored_bytes(tensor);
    row.what_if.bytes = row.stored_bytes;
    ecd_status status = measure(in, tensor, &row, &fault);
    if (!status && in->options->what_if && !again && tensor->encoding == ECD_ENCODING_RAW)
        status = what_if(f, index, &row.what_if, &fault);
    if (status && status != ECD_DATA) {
        *diag = fault;
        return status;
    }
    if (status) {
        row.fault = &fault;
        if (!in->fault.status)
            in->fault = fault;
    }
    bool stop = in->callback(in->opaque, &row);
    ecd_file_dont_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    return stop ? ecd_fail(diag, ECD_INTERRUPTED, "stopped on request") : ECD_OK;
}

static ecd_status inspect_file(inspection *in, const char *path, const char *shown, bool transformer, ecd_diag *diag)
{
    shown_file f = {.name = shown, .quantize = transformer && in->options->what_if_e4m3};
    ecd_status status = ecd_tensor_file_resolved(path, &f.cp, diag);
    bool raw = in->options->what_if;
    for (size_t i = 0; !status && i < f.cp->count; i++)
        raw = raw && f.cp->tensors[i].encoding == ECD_ENCODING_RAW;
    if (!status && raw)
        status = ecd_twins_find(f.cp, &f.twins, diag);
    for (size_t i = 0; !status && i < f.cp->count; i++)
        status = inspect_tensor(in, &f, i, diag);
    free(f.twins);
    ecd_checkpoint_close(f.cp);
    return status;
}

static ecd_status inspect_folder(inspection *in, const char *path, ecd_diag *diag)
{
    ecd_tree tree;
    size_t files = 0;
    ecd_status status = ecd_tree_list(path, &tree, diag);
    if (status)
        return status;
    for (size_t i = 0; !status && i < tree.count; i++) {
        const char *name = tree.entries[i].path;
        bool weights = ecd_ends_with(name, ".safetensors") || ecd_tree_weights_are_torch(&tree, name);
        if (tree.entries[i].folder || !weights)
            continue;
        char *full = ecd_path_join(path, name);
        status = full ? inspect_file(in, full, name, ecd_is_transformer(path, name), diag)
                      : ecd_fail_memory(diag, strlen(path), "a path");
        free(full);
        files++;
    }
    if (!status && !files) {
        status = ecd_fail(diag, ECD_USAGE,
                          "no .safetensors or .bin weights in it, expected a model's or a component's folder");
        ecd_diag_file(diag, path);
    }
    ecd_tree_free(&tree);
    return status;
}

static ecd_status inspect_single(inspection *in, const char *path, ecd_diag *diag)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder)
        return ecd_fail_memory(diag, strlen(path), "a path");
    ecd_status status = inspect_file(in, path, name, ecd_is_transformer(folder, name), diag);
    free(folder);
    return status;
}

ecd_status ecd_inspect(const char *path, const ecd_inspect_options *options, ecd_inspect_callback callback,
                       void *opaque, ecd_diag *diag)
{
    const ecd_inspect_options none = {0};
    inspection in = {.options = options ? options : &none, .callback = callback, .opaque = opaque};
    ecd_status status = ecd_alpha_table_new(&in.table, diag);
    if (!status)
        status = ecd_path_is_folder(path) ? inspect_folder(&in, path, diag) : inspect_single(&in, path, diag);
    if (!status && in.fault.status) {
        *diag = in.fault;
        status = in.fault.status;
    }
    ecd_alpha_table_free(in.table);
    return status;
}
