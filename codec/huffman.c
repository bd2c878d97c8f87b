// Length-limited Huffman codes by package-merge (Larmore and Hirschberg 1990), in O(n L).
#include "codec/plan.h"

enum { MOST_DROPS = 22 };

typedef struct leaf {
    uint64_t weight;
    uint16_t symbol;
} leaf;

// Rising by weight, then by symbol.
static unsigned sorted_leaves(const uint64_t h[ECF8_SYMBOLS], leaf leaves[ECF8_SYMBOLS])
{
    unsigned n = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        if (!h[s])
            continue;
        unsigned at = n++;
        for (; at && leaves[at - 1].weight > h[s]; at--)
            leaves[at] = leaves[at - 1];
        leaves[at] = (leaf){h[s], (uint16_t)s};
    }
    return n;
}

// Level by level the sorted list of leaves is merged with the pairs ("packages") of the list below. Of a list only this
// is kept: how many leaves are among its first k items. So walking down from the 2n - 2 items of the top list gives
// the number of leaves taken at each level, which are the rarest; a leaf's depth is how often it was taken.
// The merge has no branch to mispredict: a last item that nothing exceeds ends each of the two lists.
static void package_merge(const leaf *leaves, unsigned n, unsigned code_bits, uint8_t lengths[ECF8_SYMBOLS])
{
    uint64_t weights[ECF8_SYMBOLS + 1], packages[ECF8_SYMBOLS + 1], list[2 * ECF8_SYMBOLS];
    uint16_t leaves_in[ECF8_MAX_CODE_BITS][2 * ECF8_SYMBOLS];
    unsigned below = 0;
    for (unsigned i = 0; i < n; i++)
        weights[i] = leaves[i].weight;
    weights[n] = UINT64_MAX / 2;
    for (unsigned level = 0; level < code_bits; level++) {
        const unsigned pairs = below / 2;
        for (unsigned j = 0; j < pairs; j++)
            packages[j] = list[2 * j] + list[2 * j + 1];
        packages[pairs] = UINT64_MAX / 2;
        below = n + pairs;
        for (unsigned items = 0, i = 0; items < below; items++) {
            const uint64_t weight = weights[i], package = packages[items - i];
            const uint64_t package_is_less = (package - weight) >> 63; // all are below 2^63
            list[items] = weight + (package - weight) * package_is_less;
            i += 1 - (unsigned)package_is_less;
            leaves_in[level][items] = (uint16_t)i;
        }
    }
    memset(lengths, 0, ECF8_SYMBOLS);
    unsigned take = 2 * n - 2;
    for (unsigned level = code_bits; level-- > 0 && take;) {
        const unsigned taken = leaves_in[level][take - 1];
        for (unsigned i = 0; i < taken; i++)
            lengths[leaves[i].symbol]++;
        take = 2 * (take - taken);
    }
}

void ecf8_package_merge(const uint64_t h[ECF8_SYMBOLS], unsigned code_bits, uint8_t lengths[ECF8_SYMBOLS])
{
    leaf leaves[ECF8_SYMBOLS];
    package_merge(leaves, sorted_leaves(h, leaves), code_bits, lengths);
}

// A histogram's symbols by rank. Which of them get a code is a number: how many of the rarest are left to patches and
// coded as the commonest.
typedef struct ranking {
    leaf leaves[ECF8_SYMBOLS];
    unsigned count, top; // places in leaves; top: the commonest, of the commonest the smallest symbol
    uint64_t total;
} ranking;

static void rank_symbols(const uint64_t h[ECF8_SYMBOLS], ranking *r)
{
    r->count = sorted_leaves(h, r->leaves);
    r->total = 0;
    if (!r->count) // of an empty histogram symbol 0 is the commonest
        r->leaves[r->count++] = (leaf){0, 0};
    for (unsigned i = 0; i < r->count; i++)
        r->total += r->leaves[i].weight;
    r->top = r->count - 1;
    while (r->top && r->leaves[r->top - 1].weight == r->leaves[r->count - 1].weight)
        r->top--;
}

// The leaves that remain, the commonest heavier by those left out. Returns their number, at least 2.
static unsigned remaining(const ranking *r, unsigned dropped, leaf leaves[ECF8_SYMBOLS], uint64_t *rare)
{
    unsigned n = 0;
    leaf top = r->leaves[r->top];
    *rare = 0;
    for (unsigned i = 0; i < dropped; i++)
        *rare += i == r->top ? 0 : r->leaves[i].weight;
    const bool moves = *rare || !top.weight; // then it is heavier than the others, and stands last
    top.weight += *rare + !top.weight;
    if (r->count - dropped < 2) // a complete code has two symbols
        leaves[n++] = (leaf){1, top.symbol ? 0 : 1};
    for (unsigned i = dropped; i < r->count; i++)
        if (i != r->top || !moves)
            leaves[n++] = r->leaves[i];
    if (moves || dropped > r->top)
        leaves[n++] = top;
    return n;
}

// What Huffman's code costs whose lengths have no limit: no code costs less.
static uint64_t least_cost(const leaf *leaves, unsigned n)
{
    uint64_t nodes[ECF8_SYMBOLS], cost = 0;
    unsigned i = 0, j = 0;
    for (unsigned made = 0; made + 1 < n; made++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < 2; k++)
            sum += i < n && (j == made || leaves[i].weight <= nodes[j]) ? leaves[i++].weight : nodes[j++];
        cost += nodes[made] = sum;
    }
    return cost;
}

static uint64_t cost_of(const uint64_t h[ECF8_SYMBOLS], const uint8_t lengths[ECF8_SYMBOLS], unsigned fill_length)
{
    uint64_t cost = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        cost += h[s] * (lengths[s] ? lengths[s] : fill_length + ECF8_PATCH_BITS);
    return cost;
}

// Numbers of symbols to leave out that are worth a try, rising: those that occur fewer than total / 2^(k/2) times.
static unsigned list_drops(const ranking *r, unsigned drops[MOST_DROPS])
{
    unsigned n = 1, below = 0;
    drops[0] = 0;
    for (unsigned k = 36; k >= 16; k--) {
        const uint64_t least = k % 2 ? (r->total >> (k / 2)) * 181 / 256 : r->total >> (k / 2);
        while (below + 1 < r->count && r->leaves[below].weight < least)
            below++;
        if (below > drops[n - 1])
            drops[n++] = below;
    }
    return n;
}

static void fill_table(ecf8_code *code)
{
    uint16_t codes[ECF8_SYMBOLS] = {0};
    ecf8_canonical_codes(code->lengths, ECF8_MAX_CODE_BITS, codes);
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        if (code->lengths[s] && !codes[s])
            code->fill = (uint8_t)s;
    memset(&code->table, 0, sizeof code->table);
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        code->table.entries[s] = code->lengths[s] ? (uint32_t)codes[s] << 16 | code->lengths[s]
                                                  : ECF8_ENTRY_PATCHED | code->lengths[code->fill];
}

// Codes without a limit, which are quickly reckoned, say where package-merge can still find a better one.
uint64_t ecf8_best_code(const uint64_t h[ECF8_SYMBOLS], ecf8_code *code)
{
    ranking r;
    leaf leaves[ECF8_SYMBOLS];
    unsigned drops[MOST_DROPS], best_drop = 0;
    uint64_t bounds[MOST_DROPS], best = UINT64_MAX / 2, rare;
    rank_symbols(h, &r);
    const unsigned n = list_drops(&r, drops);
    for (unsigned k = 0; k < n; k++) {
        const unsigned left = remaining(&r, drops[k], leaves, &rare);
        bounds[k] = least_cost(leaves, left) + rare * ECF8_PATCH_BITS;
    }
    for (;;) {
        unsigned next = 0;
        for (unsigned k = 1; k < n; k++)
            next = bounds[k] < bounds[next] ? k : next;
        if (bounds[next] == UINT64_MAX || bounds[next] > best + 2) // a second symbol made up may cost 2
            break;
        bounds[next] = UINT64_MAX;
        uint8_t lengths[ECF8_SYMBOLS];
        package_merge(leaves, remaining(&r, drops[next], leaves, &rare), ECF8_MAX_CODE_BITS, lengths);
        const uint64_t cost = cost_of(h, lengths, lengths[r.leaves[r.top].symbol]);
        if (cost < best || (cost == best && drops[next] < best_drop)) { // so that the order of the tries is no matter
            best = cost;
            best_drop = drops[next];
            memcpy(code->lengths, lengths, sizeof lengths);
        }
    }
    fill_table(code);
    return best;
}
