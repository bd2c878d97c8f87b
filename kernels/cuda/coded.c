// Weights that stay ECF8 on the device and are decoded by the operations that use them (ecd_weight.coded), where
// ECD_CUDA_CHUNK_KIB asks for it: what holds them, and decodes a chunk at a time into one of two slots. Events order the
// decoding stream and that of the operations, the host waits for neither.
#include <stdlib.h>

#include <cuda_runtime_api.h>

#include "kernels/cuda/coded.h"
#include "kernels/shape.h"

enum { SLOTS = 2, CHUNK_ROWS = ECD_SCALE_BLOCK_SIZE }; // chunks begin at multiples of a block of scales

struct ecd_cuda_slots {
    char *memory[SLOTS];
    size_t size_bytes; // of one
    cudaEvent_t decoded[SLOTS], used[SLOTS];
    int next;
};

static bool runtime(ecd_backend *be, const char *what, cudaError_t error)
{
    return ecd_cuda_done(be, what, error == cudaSuccess ? NULL : cudaGetErrorString(error));
}

static bool no_memory(ecd_backend *be)
{
    ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a weight that stays ECF8");
    return false;
}

// ---------------------------------------------------------------- chunks

int64_t ecd_cuda_chunk_rows(ecd_backend *be, int64_t cols)
{
    int64_t rows = (int64_t)(ecd_cuda_of(be)->chunk_bytes / ((size_t)cols * be->act_bytes)) / CHUNK_ROWS * CHUNK_ROWS;
    return rows > CHUNK_ROWS ? rows : CHUNK_ROWS;
}

int64_t ecd_cuda_chunk_height(const ecd_coded_held *h, uint32_t chunk)
{
    int64_t left = h->rows - chunk * h->chunk_rows;
    return left < h->chunk_rows ? left : h->chunk_rows;
}

// The first weight of the chunk's first tile.
static uint64_t decoded_from(const ecd_coded_held *h, uint32_t chunk)
{
    uint64_t tile_weights = ecd_ecf8_tile_weights(&h->view);
    return (uint64_t)(chunk * h->chunk_rows * h->cols) / tile_weights * tile_weights;
}

static ecd_ecf8_part part_of(ecd_backend *be, const ecd_coded_held *h, uint32_t chunk)
{
    uint64_t tile_weights = ecd_ecf8_tile_weights(&h->view), first = decoded_from(h, chunk) / tile_weights;
    uint64_t end = (uint64_t)((chunk * h->chunk_rows + ecd_cuda_chunk_height(h, chunk)) * h->cols);
    return (ecd_ecf8_part){.view = &h->view, .device_blob = h->memory, .first_tile = first,
                           .tile_count = (end + tile_weights - 1) / tile_weights - first, .alone = true,
                           .at_once = ecd_cuda_of(be)->decode_blocks};
}

static size_t slot_bytes(const ecd_coded_held *h)
{
    size_t weights = (size_t)(h->chunk_rows * h->cols) + 2 * (size_t)ecd_ecf8_tile_weights(&h->view);
    size_t stored = ecd_dtype_size(ecf8_dtype_bytes(h->view.dtype) == 2 ? ECD_BF16 : ECD_E4M3), used = ecd_dtype_size(h->dtype);
    return weights * (stored > used ? stored : used);
}

// Slots as large as this weight wants them. What uses smaller ones comes before in both streams.
static bool grow_slots(ecd_backend *be, size_t size_bytes)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    if (!cuda->slots)
        cuda->slots = calloc(1, sizeof *cuda->slots);
    if (!cuda->slots)
        return no_memory(be);
    struct ecd_cuda_slots *s = cuda->slots;
    for (int i = 0; i < SLOTS; i++)
        if ((!s->decoded[i] && !runtime(be, "an event", cudaEventCreateWithFlags(&s->decoded[i], cudaEventDisableTiming))) ||
            (!s->used[i] && !runtime(be, "an event", cudaEventCreateWithFlags(&s->used[i], cudaEventDisableTiming))))
            return false;
    if (size_bytes <= s->size_bytes)
        return true;
    ecd_cuda_queues_wait(be);
    cuda->held_bytes -= SLOTS * s->size_bytes;
    s->size_bytes = 0;
    for (int i = 0; i < SLOTS; i++) {
        ecd_cuda_free(be, s->memory[i]);
        s->memory[i] = ecd_cuda_alloc(be, size_bytes);
        if (!s->memory[i])
            return false;
    }
    s->size_bytes = size_bytes;
    cuda->held_bytes += SLOTS * size_bytes;
    return ecd_backend_ok(be) && runtime(be, "waiting", cudaStreamSynchronize((cudaStream_t)ecd_cuda_stream_of(be)));
}

// A number of the environment, 0 where it is not set.
static ecd_status read_number(const char *name, long most, long *out, ecd_diag *diag)
{
    const char *text = getenv(name);
    char *end = NULL;
    *out = text && *text ? strtol(text, &end, 10) : 0;
    return (end && *end) || *out < 0 || *out > most ? ecd_fail(diag, ECD_USAGE, "%s is \"%.32s\", expected 0 to %ld", name, text, most)
                                                    : ECD_OK;
}

ecd_status ecd_cuda_coded_open(ecd_cuda_backend *cuda, ecd_diag *diag)
{
    long kib, rows;
    ecd_status status = read_number("ECD_CUDA_CHUNK_KIB", 1L << 20, &kib, diag);
    if (!status)
        status = read_number("ECD_CUDA_FUSED_ROWS", ECD_ECF8_PRODUCT_ROWS, &rows, diag);
    if (status || !kib)
        return status;
    cuda->chunk_bytes = (size_t)kib << 10;
    cuda->fused_rows = rows;
    cuda->ops.linear = ecd_cuda_linear_by_chunks;
    cuda->ops.coded_hold = ecd_cuda_coded_hold;
    cuda->ops.coded_free = ecd_cuda_coded_free;
    cuda->ops.sequence_begin = cuda->ops.sequence_end = NULL; // a graph would have to hold both streams
    return ECD_OK;
}

void ecd_cuda_coded_close(ecd_cuda_backend *cuda)
{
    struct ecd_cuda_slots *s = cuda->slots;
    for (int i = 0; s && i < SLOTS; i++) {
        ecd_cuda_free(&cuda->base, s->memory[i]);
        if (s->decoded[i])
            cudaEventDestroy(s->decoded[i]);
        if (s->used[i])
            cudaEventDestroy(s->used[i]);
    }
    free(s);
    cuda->slots = NULL;
}

// ---------------------------------------------------------------- holding

static size_t rounded(uint64_t bytes)
{
    return ((size_t)bytes + ECD_ECF8_BLOB_ALIGN - 1) / ECD_ECF8_BLOB_ALIGN * ECD_ECF8_BLOB_ALIGN;
}

// The parts of an image: the chunks, or one that is all. `parts` has room for as many as there are chunks.
static uint32_t parts_of(ecd_backend *be, const ecd_coded_held *h, bool whole, ecd_ecf8_part *parts)
{
    if (whole)
        parts[0] = (ecd_ecf8_part){.view = &h->view, .device_blob = h->memory, .tile_count = ecd_ecf8_tile_count(&h->view),
                                    .at_once = ecd_cuda_of(be)->decode_blocks};
    for (uint32_t i = 0; !whole && i < h->chunks; i++)
        parts[i] = part_of(be, h, i);
    return whole ? 1 : h->chunks;
}

static size_t image_bytes(ecd_backend *be, const ecd_coded_held *h, bool whole, ecd_ecf8_part *parts)
{
    return rounded(ecd_ecf8_plan_bytes(parts, parts_of(be, h, whole, parts)));
}

static bool make_image(ecd_backend *be, const ecd_coded_held *h, bool whole, ecf8_form form, ecd_ecf8_part *parts, char **at,
                       ecd_coded_image *out)
{
    ecd_diag diag = {0};
    size_t bytes = image_bytes(be, h, whole, parts);
    void *memory = aligned_alloc(ECD_ECF8_BLOB_ALIGN, bytes);
    if (!memory)
        return no_memory(be);
    if (ecd_ecf8_plan_make(parts, parts_of(be, h, whole, parts), form, memory, bytes, &out->plan, &diag)) {
        free(memory);
        ecd_backend_keep(be, &diag);
        return false;
    }
    out->plan.image = memory;
    out->there = *at;
    ecd_cuda_upload(be, *at, memory, out->plan.image_bytes);
    *at += bytes;
    return ecd_backend_ok(be);
}

static size_t status_count(const ecd_coded_held *h)
{
    uint64_t most = h->used.plan.status_count;
    most = h->checked.plan.status_count > most ? h->checked.plan.status_count : most;
    return (size_t)(h->whole.plan.status_count > most ? h->whole.plan.status_count : most);
}

static bool fill(ecd_backend *be, const ecd_weight *w, ecd_coded_held *h, ecd_ecf8_part *parts)
{
    size_t chunked = image_bytes(be, h, false, parts), whole = h->multiplies ? image_bytes(be, h, true, parts) : 0;
    // A block's status words are fewer than the bytes of its entry in the image.
    h->size_bytes = rounded(h->view.blob_bytes) + 3 * chunked + 2 * whole + ECD_ECF8_BLOB_ALIGN;
    h->memory = ecd_cuda_alloc(be, h->size_bytes);
    if (!h->memory)
        return false;
    char *at = h->memory;
    ecd_cuda_upload(be, at, h->view.blob, h->view.blob_bytes);
    at += rounded(h->view.blob_bytes);
    bool bf16 = h->dtype == ECD_BF16 && w->dtype != ECD_BF16;
    if (!make_image(be, h, false, bf16 ? ECF8_FORM_BF16 : ECF8_FORM_NATIVE, parts, &at, &h->used) ||
        !make_image(be, h, false, ECF8_FORM_NATIVE, parts, &at, &h->checked) ||
        (h->multiplies && !make_image(be, h, true, ECF8_FORM_BF16, parts, &at, &h->whole)))
        return false;
    h->status = (uint32_t *)(void *)at;
    h->status_count = status_count(h);
    h->host_status = malloc(h->status_count * sizeof *h->host_status);
    return h->host_status || no_memory(be);
}

// Whether products of few rows can be formed while decoding; the rows of activations are at most `fused_rows`.
static bool can_multiply(ecd_backend *be, const ecd_coded_held *h, const ecd_weight *w)
{
    const ecd_cuda_backend *cuda = ecd_cuda_of(be);
    return cuda->fused_rows > 0 && be->compute == ECD_COMPUTE_BF16 && w->scale_kind != ECD_SCALE_BLOCK &&
           ecd_ecf8_product_fits(&h->view, (uint64_t)h->cols, 1, cuda->shared_bytes);
}

static bool hold(ecd_backend *be, const ecd_weight *w, ecd_coded_held *h)
{
    const ecf8_view *view = &w->coded->view;
    if (!view->blob || w->coded->first || view->count != w->coded->count) {
        ecd_backend_fail(be, ECD_USAGE, "a weight that is not one whole ECF8 container stays not on the device");
        return false;
    }
    h->view = *view;
    h->rows = w->rows;
    h->cols = w->cols;
    h->chunk_rows = ecd_cuda_chunk_rows(be, w->cols);
    h->chunks = (uint32_t)((w->rows + h->chunk_rows - 1) / h->chunk_rows);
    h->dtype = be->compute == ECD_COMPUTE_BF16 && w->scale_kind != ECD_SCALE_BLOCK ? ECD_BF16 : w->dtype;
    h->multiplies = can_multiply(be, h, w);
    ecd_ecf8_part *parts = calloc(h->chunks, sizeof *parts);
    bool good = parts ? fill(be, w, h, parts) : no_memory(be);
    free(parts);
    return good && grow_slots(be, slot_bytes(h)) && ecd_cuda_coded_check(be, h, w->coded);
}

ecd_coded_held *ecd_cuda_coded_hold(ecd_backend *be, const ecd_weight *w)
{
    if (!ecd_shape_weight(be, w) || !ecd_cuda_queue(be, ECD_QUEUE_DECODE))
        return NULL;
    ecd_coded_held *h = calloc(1, sizeof *h);
    if (!h) {
        no_memory(be);
        return NULL;
    }
    bool good = hold(be, w, h);
    ecd_cuda_of(be)->held_bytes += h->size_bytes;
    if (good)
        return h;
    ecd_cuda_coded_free(be, h);
    return NULL;
}

void ecd_cuda_coded_free(ecd_backend *be, ecd_coded_held *h)
{
    if (!h)
        return;
    ecd_cuda_queues_wait(be);
    ecd_cuda_of(be)->held_bytes -= h->size_bytes;
    ecd_cuda_free(be, h->memory);
    free(h->used.plan.image);
    free(h->checked.plan.image);
    free(h->whole.plan.image);
    free(h->host_status);
    free(h);
}

// ---------------------------------------------------------------- decoding

const char *ecd_cuda_chunk_decode(ecd_backend *be, const ecd_coded_held *h, const ecd_coded_image *from, uint32_t chunk,
                                  bool checksums, size_t element_bytes)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    struct ecd_cuda_slots *s = cuda->slots;
    const int slot = s->next;
    cudaStream_t main = (cudaStream_t)ecd_cuda_stream_of(be), stream = (cudaStream_t)cuda->queues[ECD_QUEUE_DECODE];
    if (!ecd_backend_ok(be) ||
        !runtime(be, "ordering streams", cudaStreamWaitEvent(stream, s->used[slot], 0)) ||
        !runtime(be, "decoding",
                 (cudaError_t)ecd_ecf8_decode_part(&from->plan, from->there, chunk, s->memory[slot], h->status, checksums,
                                                   stream)) ||
        !runtime(be, "ordering streams", cudaEventRecord(s->decoded[slot], stream)) ||
        !runtime(be, "ordering streams", cudaStreamWaitEvent(main, s->decoded[slot], 0)))
        return NULL;
    return s->memory[slot] + ((uint64_t)(chunk * h->chunk_rows * h->cols) - decoded_from(h, chunk)) * element_bytes;
}

void ecd_cuda_chunk_used(ecd_backend *be)
{
    struct ecd_cuda_slots *s = ecd_cuda_of(be)->slots;
    if (ecd_backend_ok(be))
        runtime(be, "ordering streams", cudaEventRecord(s->used[s->next], (cudaStream_t)ecd_cuda_stream_of(be)));
    s->next = (s->next + 1) % SLOTS;
}

// What is wrong, in the words of the host's decoder, which decodes it once more.
static void describe_fault(ecd_backend *be, ecd_coded *coded)
{
    ecd_diag diag = {0};
    void *out = malloc(coded->count * ecd_dtype_size(coded->dtype)), *tables = malloc(ECF8_DECODER_MAX_BYTES);
    if (!out || !tables)
        ecd_fail_memory(&diag, coded->count * ecd_dtype_size(coded->dtype), "a weight that does not decode");
    else if (!ecd_coded_decode(coded, out, true, tables, ECF8_DECODER_MAX_BYTES, &diag))
        ecd_fail(&diag, ECD_DATA, "%s: the device decodes it wrongly, the host does not", coded->place.tensor);
    ecd_backend_keep(be, &diag);
    free(out);
    free(tables);
}

bool ecd_cuda_coded_check(ecd_backend *be, ecd_coded_held *h, ecd_coded *coded)
{
    cudaStream_t stream = (cudaStream_t)ecd_cuda_of(be)->queues[ECD_QUEUE_DECODE];
    size_t bytes = h->status_count * sizeof *h->status;
    runtime(be, "decoding", cudaMemsetAsync(h->status, 0, bytes, stream));
    for (uint32_t i = 0; i < h->chunks && ecd_backend_ok(be); i++) {
        ecd_cuda_chunk_decode(be, h, &h->checked, i, true, 1);
        ecd_cuda_chunk_used(be);
    }
    if (!ecd_backend_ok(be) ||
        !runtime(be, "copying from the device",
                 cudaMemcpyAsync(h->host_status, h->status, bytes, cudaMemcpyDeviceToHost, stream)) ||
        !runtime(be, "decoding", cudaStreamSynchronize(stream)))
        return false;
    if (h->host_status[0])
        describe_fault(be, coded);
    else
        atomic_store(&coded->proven, true);
    return ecd_backend_ok(be);
}

// All chunks, one after the other, into memory that the caller frees.
bool ecd_cuda_coded_expand(ecd_backend *be, const ecd_weight *w, ecd_weight *out, void **memory)
{
    const ecd_coded_held *h = w->coded ? w->coded->held : NULL;
    *out = *w;
    *memory = NULL;
    if (!w->coded)
        return true;
    if (!h) {
        ecd_backend_fail(be, ECD_USAGE, "backend cuda: ECF8 that was not given to the device");
        return false;
    }
    size_t size = ecd_dtype_size(h->dtype);
    char *to = *memory = ecd_cuda_alloc(be, (size_t)(w->rows * w->cols) * size);
    out->data = to;
    out->dtype = h->dtype;
    out->coded = NULL;
    for (uint32_t i = 0; to && i < h->chunks && ecd_backend_ok(be); i++) {
        const char *from = ecd_cuda_chunk_decode(be, h, &h->used, i, false, size);
        if (from)
            ecd_cuda_copy(be, to + (size_t)(i * h->chunk_rows * h->cols) * size, from,
                          (size_t)(ecd_cuda_chunk_height(h, i) * h->cols) * size);
        ecd_cuda_chunk_used(be);
    }
    return to && ecd_backend_ok(be);
}
