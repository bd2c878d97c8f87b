#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"

void ecd_vocab_free(ecd_vocab *v)
{
    free(v->blob);
    free(v->pieces);
    free(v->by_id);
    *v = (ecd_vocab){0};
}

static bool reserve(void **memory, size_t *capacity, size_t wanted, size_t element)
{
    void *grown = ecd_grow(*memory, wanted, capacity, element);
    *memory = grown ? grown : *memory;
    return grown != NULL;
}

ecd_status ecd_vocab_add(ecd_vocab *v, const char *text, size_t size, int64_t id, ecd_diag *diag)
{
    if (!size || size > ECD_PIECE_MAX_BYTES)
        return ecd_fail(diag, ECD_DATA, "a piece of %zu bytes (id %lld), expected 1 to %d", size, (long long)id,
                        (int)ECD_PIECE_MAX_BYTES);
    if (id < 0 || id >= ECD_VOCAB_MAX || v->count >= ECD_VOCAB_MAX)
        return ecd_fail(diag, ECD_DATA, "piece %zu has the id %lld, expected at most %d pieces and ids below that", v->count,
                        (long long)id, (int)ECD_VOCAB_MAX);
    if (v->blob_size + size > UINT32_MAX)
        return ecd_fail(diag, ECD_DATA, "a vocabulary of more than 4 GB");
    void *blob = v->blob, *pieces = v->pieces;
    bool ok = reserve(&blob, &v->blob_capacity, v->blob_size + size, 1);
    v->blob = blob;
    ok = ok && reserve(&pieces, &v->capacity, v->count + 1, sizeof *v->pieces);
    v->pieces = pieces;
    if (!ok)
        return ecd_fail_memory(diag, v->blob_size + size, "the vocabulary");
    v->pieces[v->count++] = (ecd_piece){(uint32_t)v->blob_size, (uint32_t)size, (int32_t)id};
    memcpy(v->blob + v->blob_size, text, size);
    v->blob_size += size;
    if (id >= v->id_limit)
        v->id_limit = (int32_t)id + 1;
    return ECD_OK;
}

static int compare_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_pieces(const ecd_vocab *v, const ecd_piece *a, const ecd_piece *b)
{
    return compare_bytes(v->blob + a->begin, a->size, v->blob + b->begin, b->size);
}

// Merge sort: the same time whatever a file holds, and it takes the vocabulary along.
static void sort(const ecd_vocab *v, ecd_piece *pieces, ecd_piece *scratch, size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = begin + width < count ? begin + width : count;
            size_t end = begin + 2 * width < count ? begin + 2 * width : count;
            for (size_t i = begin, j = middle, k = begin; k < end; k++) {
                bool left = j == end || (i < middle && compare_pieces(v, &pieces[i], &pieces[j]) <= 0);
                scratch[k] = left ? pieces[i++] : pieces[j++];
            }
        }
        memcpy(pieces, scratch, count * sizeof *pieces);
    }
}

static ecd_status index_ids(ecd_vocab *v, ecd_diag *diag)
{
    for (size_t i = 0; i < v->count; i++) {
        const ecd_piece *p = &v->pieces[i];
        if (i && !compare_pieces(v, p - 1, p))
            return ecd_fail(diag, ECD_DATA, "the piece \"%.*s\" comes twice, as id %d and %d", (int)p->size,
                            v->blob + p->begin, (int)p[-1].id, (int)p->id);
        if (v->by_id[p->id])
            return ecd_fail(diag, ECD_DATA, "two pieces have the id %d", (int)p->id);
        v->by_id[p->id] = (uint32_t)i + 1;
    }
    return ECD_OK;
}

ecd_status ecd_vocab_finish(ecd_vocab *v, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    ecd_piece *scratch = malloc((v->count + 1) * sizeof *scratch);
    v->by_id = calloc((size_t)v->id_limit + 1, sizeof *v->by_id);
    if (!scratch || !v->by_id) {
        status = ecd_fail_memory(diag, v->count * sizeof *scratch, "the vocabulary");
        goto out;
    }
    if (v->count)
        sort(v, v->pieces, scratch, v->count);
    status = index_ids(v, diag);
out:
    free(scratch);
    return status;
}

int32_t ecd_vocab_find(const ecd_vocab *v, const char *text, size_t size)
{
    size_t low = 0, high = v->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const ecd_piece *p = &v->pieces[middle];
        int order = compare_bytes(v->blob + p->begin, p->size, text, size);
        if (!order)
            return p->id;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const char *ecd_vocab_piece(const ecd_vocab *v, int32_t id, size_t *size)
{
    if (id < 0 || id >= v->id_limit || !v->by_id[id])
        return NULL;
    const ecd_piece *p = &v->pieces[v->by_id[id] - 1];
    *size = p->size;
    return v->blob + p->begin;
}

// The first piece of the range whose byte at `depth` is at least `byte`. Only the first of a range can end at `depth`.
static size_t lower(const ecd_vocab *v, const ecd_vocab_range *r, unsigned byte)
{
    size_t low = r->low, high = r->high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const ecd_piece *p = &v->pieces[middle];
        bool less = p->size == r->depth || (unsigned char)v->blob[p->begin + r->depth] < byte;
        if (less)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ecd_vocab_narrow(const ecd_vocab *v, ecd_vocab_range *r, char byte)
{
    size_t low = lower(v, r, (unsigned char)byte);
    size_t high = lower(v, r, (unsigned)(unsigned char)byte + 1);
    *r = (ecd_vocab_range){low, high, r->depth + 1};
    return low < high;
}

int32_t ecd_vocab_whole(const ecd_vocab *v, const ecd_vocab_range *r)
{
    return r->low < r->high && v->pieces[r->low].size == r->depth ? v->pieces[r->low].id : -1;
}

int32_t ecd_vocab_longest(const ecd_vocab *v, const char *text, size_t size, size_t at, size_t *length)
{
    int32_t best = -1;
    ecd_vocab_range range = ecd_vocab_all(v);
    for (size_t i = at; i < size && ecd_vocab_narrow(v, &range, text[i]); i++) {
        int32_t id = ecd_vocab_whole(v, &range);
        if (id < 0)
            continue;
        best = id;
        *length = i + 1 - at;
    }
    return best;
}
