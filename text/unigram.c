#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "text/model.h"
#include "text/utf8.h"

void ecd_ids_add(ecd_ids *ids, int32_t id)
{
    if (ids->no_memory)
        return;
    int32_t *grown = ecd_grow(ids->ids, ids->count + 1, &ids->capacity, sizeof *grown);
    if (!grown) {
        ids->no_memory = true;
        return;
    }
    ids->ids = grown;
    ids->ids[ids->count++] = id;
}

void ecd_ids_free(ecd_ids *ids)
{
    free(ids->ids);
    *ids = (ecd_ids){0};
}

void ecd_unigram_free(ecd_unigram *unigram)
{
    ecd_vocab_free(&unigram->pieces);
    free(unigram->scores);
    *unigram = (ecd_unigram){0};
}

// The best way to the place between two bytes.
typedef struct node {
    double score;
    int64_t begin; // of its last piece; -1: no way yet
    int32_t id;
} node;

static void offer(const ecd_unigram *u, node *nodes, size_t begin, size_t end, double score, int32_t id)
{
    double sum = score + nodes[begin].score;
    if (u->single)
        sum = (float)sum;
    if (nodes[end].begin < 0 || sum > nodes[end].score)
        nodes[end] = (node){sum, (int64_t)begin, id};
}

static ecd_status forward(const ecd_unigram *u, const char *word, size_t size, node *nodes, ecd_diag *diag)
{
    double unknown_score = u->least - 10;
    if (u->single)
        unknown_score = (float)unknown_score;
    size_t character;
    for (size_t at = 0; at < size; at += character) {
        bool single = false;
        ecd_vocab_range range = ecd_vocab_all(&u->pieces);
        (void)ecd_utf8_at(word, size, at, &character);
        for (size_t i = at; i < size && ecd_vocab_narrow(&u->pieces, &range, word[i]); i++) {
            int32_t id = ecd_vocab_whole(&u->pieces, &range);
            if (id < 0)
                continue;
            offer(u, nodes, at, i + 1, u->scores[id], id);
            single = single || i + 1 == at + character;
        }
        if (!single && u->unknown < 0)
            return ecd_fail(diag, ECD_DATA, "the model has no unknown piece (unk_id), and \"%.*s\" is none of its pieces",
                            (int)character, word + at);
        if (!single)
            offer(u, nodes, at, at + character, unknown_score, u->unknown);
    }
    return ECD_OK;
}

ecd_status ecd_unigram_encode(const ecd_unigram *u, const char *word, size_t size, ecd_ids *out, ecd_diag *diag)
{
    node *nodes = malloc((size + 1) * sizeof *nodes);
    if (!nodes)
        return ecd_fail_memory(diag, (size + 1) * sizeof *nodes, "the paths through a word");
    for (size_t i = 0; i <= size; i++)
        nodes[i] = (node){0, -1, -1};
    ecd_status status = forward(u, word, size, nodes, diag);
    if (!status) {
        size_t first = out->count;
        for (size_t end = size; end > 0; end = (size_t)nodes[end].begin) {
            bool fused = nodes[end].id == u->unknown && out->count > first && out->ids[out->count - 1] == u->unknown;
            if (!fused)
                ecd_ids_add(out, nodes[end].id);
        }
        for (size_t i = first, j = out->count; i + 1 < j; i++) { // they came from behind
            int32_t swap = out->ids[--j];
            out->ids[j] = out->ids[i];
            out->ids[i] = swap;
        }
    }
    free(nodes);
    return status;
}
