#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "text/model.h"
#include "text/utf8.h"

void ecd_bpe_free(ecd_bpe *bpe)
{
    free(bpe->merges);
    *bpe = (ecd_bpe){0};
}

ecd_status ecd_bpe_add(ecd_bpe *bpe, const ecd_vocab *vocab, const char *left, size_t left_size, const char *right,
                       size_t right_size, ecd_diag *diag)
{
    char joined[2 * ECD_PIECE_MAX_BYTES];
    size_t skip = strlen(bpe->prefix);
    ecd_merge m = {.left = ecd_vocab_find(vocab, left, left_size), .right = ecd_vocab_find(vocab, right, right_size)};
    if (m.left < 0 || m.right < 0)
        return ecd_fail(diag, ECD_DATA, "merge %zu joins \"%.*s\", which is not in the vocabulary", bpe->count,
                        m.left < 0 ? (int)left_size : (int)right_size, m.left < 0 ? left : right);
    skip = skip < right_size ? skip : right_size;
    memcpy(joined, left, left_size);
    memcpy(joined + left_size, right + skip, right_size - skip);
    m.joined = ecd_vocab_find(vocab, joined, left_size + right_size - skip);
    if (m.joined < 0)
        return ecd_fail(diag, ECD_DATA, "merge %zu makes \"%.*s\", which is not in the vocabulary", bpe->count,
                        (int)(left_size + right_size - skip), joined);
    size_t wanted = bpe->count + 1;
    ecd_merge *merges =
        wanted <= 2 * (size_t)ECD_VOCAB_MAX ? ecd_grow(bpe->merges, wanted, &bpe->capacity, sizeof *merges) : NULL;
    if (!merges)
        return ecd_fail_memory(diag, wanted * sizeof *merges, "merges");
    bpe->merges = merges;
    m.rank = (uint32_t)bpe->count;
    bpe->merges[bpe->count++] = m;
    return ECD_OK;
}

static int compare_pair(const ecd_merge *a, int32_t left, int32_t right)
{
    if (a->left != left)
        return a->left < left ? -1 : 1;
    return (a->right > right) - (a->right < right);
}

static int compare_merges(const void *a, const void *b)
{
    const ecd_merge *x = a, *y = b;
    int order = compare_pair(x, y->left, y->right);
    return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

ecd_status ecd_bpe_finish(ecd_bpe *bpe, ecd_diag *diag)
{
    (void)diag;
    if (!bpe->count)
        return ECD_OK;
    qsort(bpe->merges, bpe->count, sizeof *bpe->merges, compare_merges);
    size_t kept = 0; // of a pair that comes twice the last counts, as in tokenizers
    for (size_t i = 0; i < bpe->count; i++) {
        if (kept && !compare_pair(&bpe->merges[kept - 1], bpe->merges[i].left, bpe->merges[i].right))
            kept--;
        bpe->merges[kept++] = bpe->merges[i];
    }
    bpe->count = kept;
    return ECD_OK;
}

static const ecd_merge *find_merge(const ecd_bpe *bpe, int32_t left, int32_t right)
{
    size_t low = 0, high = bpe->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_pair(&bpe->merges[middle], left, right);
        if (!order)
            return &bpe->merges[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

typedef struct symbol {
    int32_t id;
    int32_t before, after; // -1: none
    bool gone;
} symbol;

// A pair that could be joined: a heap of them, the lowest rank and then the leftmost on top.
typedef struct candidate {
    uint32_t rank;
    int32_t at, joined;
} candidate;

typedef struct work {
    symbol *symbols;
    candidate *heap;
    size_t count, heap_count;
} work;

static bool sooner(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

// Each pass over a pair adds at most two candidates, and each takes a symbol away: 3 a symbol are enough.
static void push(work *w, candidate c)
{
    size_t i = w->heap_count++;
    for (; i && sooner(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static candidate pop(work *w)
{
    candidate top = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_count; i = child) {
        if (child + 1 < w->heap_count && sooner(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!sooner(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

static void consider(const ecd_bpe *bpe, work *w, int32_t at)
{
    if (at < 0 || w->symbols[at].after < 0)
        return;
    const ecd_merge *m = find_merge(bpe, w->symbols[at].id, w->symbols[w->symbols[at].after].id);
    if (m)
        push(w, (candidate){m->rank, at, m->joined});
}

static void merge_all(const ecd_bpe *bpe, work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->symbols[i].before = (int32_t)i - 1;
        w->symbols[i].after = i + 1 < w->count ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < w->count; i++)
        consider(bpe, w, (int32_t)i);
    while (w->heap_count) {
        candidate top = pop(w);
        symbol *left = &w->symbols[top.at];
        if (left->gone || left->after < 0)
            continue;
        symbol *right = &w->symbols[left->after];
        const ecd_merge *m = find_merge(bpe, left->id, right->id);
        if (!m || m->joined != top.joined) // one of the two has changed meanwhile
            continue;
        left->id = m->joined;
        left->after = right->after;
        right->gone = true;
        if (left->after >= 0)
            w->symbols[left->after].before = top.at;
        consider(bpe, w, left->before);
        consider(bpe, w, top.at);
    }
}

// The vocabulary's id of one character of a word, with what the model puts before and behind it.
static int32_t character_id(const ecd_bpe *bpe, const ecd_vocab *vocab, const char *text, size_t size, bool first,
                            bool last)
{
    char spelled[sizeof bpe->prefix + 4 + sizeof bpe->suffix];
    size_t length = 0;
    if (!first) {
        length = strlen(bpe->prefix);
        memcpy(spelled, bpe->prefix, length);
    }
    memcpy(spelled + length, text, size);
    length += size;
    if (last) {
        memcpy(spelled + length, bpe->suffix, strlen(bpe->suffix));
        length += strlen(bpe->suffix);
    }
    return ecd_vocab_find(vocab, spelled, length);
}

static void spell(const ecd_bpe *bpe, const ecd_vocab *vocab, const char *word, size_t size, work *w)
{
    size_t length;
    bool unknown_before = false;
    for (size_t at = 0; at < size; at += length) {
        (void)ecd_utf8_at(word, size, at, &length);
        int32_t id = character_id(bpe, vocab, word + at, length, at == 0, at + length == size);
        bool unknown = id < 0;
        if (unknown && (bpe->unknown < 0 || (bpe->fuse_unknown && unknown_before)))
            continue;
        w->symbols[w->count++] = (symbol){.id = unknown ? bpe->unknown : id};
        unknown_before = unknown;
    }
}

ecd_status ecd_bpe_encode(const ecd_bpe *bpe, const ecd_vocab *vocab, const char *word, size_t size, ecd_ids *out,
                          ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    int32_t whole = bpe->ignore_merges ? ecd_vocab_find(vocab, word, size) : -1;
    if (whole >= 0) {
        ecd_ids_add(out, whole);
        return ECD_OK;
    }
    work w = {.symbols = malloc((size + 1) * sizeof *w.symbols), .heap = malloc((3 * size + 1) * sizeof *w.heap)};
    if (!w.symbols || !w.heap) {
        status = ecd_fail_memory(diag, size * (sizeof *w.symbols + 3 * sizeof *w.heap), "the symbols of a word");
        goto out;
    }
    spell(bpe, vocab, word, size, &w);
    merge_all(bpe, &w);
    for (size_t i = 0; i < w.count; i++) {
        if (!w.symbols[i].gone)
            ecd_ids_add(out, w.symbols[i].id);
    }
out:
    free(w.symbols);
    free(w.heap);
    return status;
}
