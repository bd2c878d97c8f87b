// Length-limited Huffman codes by package-merge (Larmore and Hirschberg 1990), in O(n L).
#include "codec/plan.h"

typedef struct leaf {
    uint64_t weight;
    uint16_t symbol;
} leaf;

static int sorted_leaves(const uint64_t h[ECF8_SYMBOLS], leaf leaves[ECF8_SYMBOLS])
{
    int n = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        if (!h[s])
            continue;
        int at = n++;
        for (; at && leaves[at - 1].weight > h[s]; at--)
            leaves[at] = leaves[at - 1];
        leaves[at] = (leaf){h[s], (uint16_t)s};
    }
    return n;
}

// Level by level the sorted list of leaves is merged with the pairs ("packages") of the list below. Only the kind of
// each item is kept: the first k items of a list always hold the first so many leaves and the first so many packages,
// so walking down from the 2n - 2 items of the top list gives every leaf's depth.
void ecf8_package_merge(const uint64_t h[ECF8_SYMBOLS], unsigned code_bits, uint8_t lengths[ECF8_SYMBOLS])
{
    leaf leaves[ECF8_SYMBOLS];
    uint64_t lists[2][2 * ECF8_SYMBOLS];
    bool is_leaf[ECF8_MAX_CODE_BITS][2 * ECF8_SYMBOLS];
    const int n = sorted_leaves(h, leaves);
    int below = 0;
    memset(lengths, 0, ECF8_SYMBOLS);
    for (unsigned level = 0; level < code_bits; level++) {
        const uint64_t *from = lists[(level + 1) % 2];
        uint64_t *to = lists[level % 2];
        int items = 0, i = 0, j = 0;
        while (i < n || j + 1 < below) {
            const uint64_t package = j + 1 < below ? from[j] + from[j + 1] : UINT64_MAX;
            is_leaf[level][items] = i < n && leaves[i].weight <= package;
            if (is_leaf[level][items])
                to[items++] = leaves[i++].weight;
            else
                to[items++] = package, j += 2;
        }
        below = items;
    }
    int take = 2 * n - 2;
    for (unsigned level = code_bits; level-- > 0 && take;) {
        int taken = 0;
        for (int k = 0; k < take; k++)
            if (is_leaf[level][k])
                lengths[leaves[taken++].symbol]++;
        take = 2 * (take - taken);
    }
}

static uint64_t cost_of(const uint64_t h[ECF8_SYMBOLS], const uint8_t lengths[ECF8_SYMBOLS], unsigned fill_length)
{
    uint64_t cost = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        cost += h[s] * (lengths[s] ? lengths[s] : fill_length + ECF8_PATCH_BITS);
    return cost;
}

// Lengths where symbols that occur fewer than `least` times are left to patches: they are coded as the commonest
// symbol.
static uint64_t lengths_without(const uint64_t h[ECF8_SYMBOLS], uint64_t least, uint8_t lengths[ECF8_SYMBOLS])
{
    uint64_t g[ECF8_SYMBOLS], rare = 0;
    unsigned top = 0, used = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        const bool keep = h[s] && h[s] >= least;
        g[s] = keep ? h[s] : 0;
        rare += keep ? 0 : h[s];
        used += keep;
        top = h[s] > h[top] ? s : top;
    }
    if (!g[top])
        used++;
    g[top] = (g[top] ? g[top] : h[top]) + rare;
    if (!g[top]) // an empty histogram
        g[top] = 1;
    if (used < 2) // a complete code has two symbols
        g[top ? 0 : 1] = 1;
    ecf8_package_merge(g, ECF8_MAX_CODE_BITS, lengths);
    return cost_of(h, lengths, lengths[top]);
}

uint64_t ecf8_best_code(const uint64_t h[ECF8_SYMBOLS], ecf8_code *code)
{
    uint64_t total = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        total += h[s];
    uint64_t best = lengths_without(h, 0, code->lengths), before = 0;
    for (unsigned k = 36; k >= 16; k--) { // thresholds of total / 2^(k/2), rising
        const uint64_t least = k % 2 ? (total >> (k / 2)) * 181 / 256 : total >> (k / 2);
        if (least <= before)
            continue;
        before = least;
        uint8_t lengths[ECF8_SYMBOLS];
        const uint64_t cost = lengths_without(h, least, lengths);
        if (cost < best) {
            best = cost;
            memcpy(code->lengths, lengths, sizeof lengths);
        }
    }
    memset(code->codes, 0, sizeof code->codes);
    ecf8_canonical_codes(code->lengths, ECF8_MAX_CODE_BITS, code->codes);
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        if (code->lengths[s] && !code->codes[s])
            code->fill = (uint8_t)s;
    return best;
}
