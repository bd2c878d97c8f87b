// Writing the published format: one stream, cut into threads of 8 bytes and blocks of 512 threads where it falls.
#include "codec/plan.h"
#include "codec/published.h"

enum {
    WORD_BITS = 64, // a thread's share of the stream
    THREADS = ECF8_PUBLISHED_THREADS,
    BLOCK_BYTES = THREADS * ECF8_PUBLISHED_THREAD_BYTES,
    CODE_BITS = ECF8_MAX_CODE_BITS, // 16 symbols lose nothing by codes of 12 bits instead of 16
    LENGTH_MASK = 31,               // of an entry of `pairs`
};

static ecf8_status fail(ecf8_published_error *error, const char *what)
{
    if (error)
        *error = (ecf8_published_error){ECF8_ERR_ARGUMENT, ECF8_PUBLISHED_NIBBLES, 0, ECF8_NO_TILE, what};
    return ECF8_ERR_ARGUMENT;
}

static unsigned exponent_of(uint8_t weight)
{
    return weight >> 3 & 15;
}

void ecf8_published_count(ecf8_published_plan *plan, const void *weights, uint64_t count)
{
    const uint8_t *w = weights;
    uint64_t whole[4][256] = {{0}}, i = 0; // four, so that equal neighbours do not wait for each other
    for (; i + 4 <= count; i += 4)
        for (unsigned k = 0; k < 4; k++)
            whole[k][w[i + k]]++;
    for (; i < count; i++)
        whole[0][w[i]]++;
    for (unsigned byte = 0; byte < 256; byte++)
        plan->histogram[exponent_of((uint8_t)byte)] +=
            whole[0][byte] + whole[1][byte] + whole[2][byte] + whole[3][byte];
    plan->count += count;
}

// A complete code: its decoder never meets bits that no code begins with, not even behind the stream's end.
static void choose_code(ecf8_published_plan *plan)
{
    uint64_t histogram[ECF8_SYMBOLS] = {0};
    uint8_t lengths[ECF8_SYMBOLS];
    uint16_t codes[ECF8_SYMBOLS];
    unsigned used = 0;
    for (unsigned s = 0; s < 16; s++) {
        histogram[s] = plan->histogram[s];
        used += histogram[s] != 0;
    }
    if (used == 1) // a complete code has two symbols
        histogram[histogram[0] ? 1 : 0] = 1;
    ecf8_package_merge(histogram, CODE_BITS, lengths);
    ecf8_canonical_codes(lengths, CODE_BITS, codes);
    memcpy(plan->lengths, lengths, sizeof plan->lengths);
    memcpy(plan->codes, codes, sizeof plan->codes);
}

// Numbers the tables that codes of more than 8 bits need, by their first byte. Returns how many there are.
static unsigned number_tables(const ecf8_published_plan *plan, uint8_t tables[256])
{
    unsigned count = 0;
    memset(tables, 0, 256);
    for (unsigned s = 0; s < 16; s++) {
        if (plan->lengths[s] <= 8)
            continue;
        const unsigned first = plan->codes[s] >> (plan->lengths[s] - 8);
        if (!tables[first])
            tables[first] = (uint8_t)++count;
    }
    return count;
}

ecf8_status ecf8_published_decide(ecf8_published_plan *plan, ecf8_published_error *error)
{
    uint8_t tables[256];
    if (!plan->count)
        return fail(error, "at least one pair of weights");
    if (plan->count % 2)
        return fail(error, "an even count of weights: ECF8 0.2.0 stores them in pairs");
    if (plan->count > ECF8_PUBLISHED_MAX_COUNT)
        return fail(error, "fewer than 2^31 weights: ECF8 0.2.0 counts them in 32 bits");
    choose_code(plan);
    plan->encoded_bits = 0;
    for (unsigned s = 0; s < 16; s++)
        plan->encoded_bits += plan->histogram[s] * plan->lengths[s];
    const uint64_t encoded = (plan->encoded_bits + 7) / 8, blocks = (encoded + BLOCK_BYTES - 1) / BLOCK_BYTES;
    plan->bytes[ECF8_PUBLISHED_LUTS] = (2 + number_tables(plan, tables)) * 256;
    plan->bytes[ECF8_PUBLISHED_ENCODED] = encoded;
    plan->bytes[ECF8_PUBLISHED_NIBBLES] = plan->count / 2;
    plan->bytes[ECF8_PUBLISHED_GAPS] = blocks * THREADS / 2;
    plan->bytes[ECF8_PUBLISHED_POSITIONS] = (blocks + 1) * 8;
    return ECF8_OK;
}

static void write_luts(const ecf8_published_plan *plan, uint8_t *luts)
{
    uint8_t tables[256];
    const unsigned count = number_tables(plan, tables);
    memset(luts, 0, plan->bytes[ECF8_PUBLISHED_LUTS]);
    for (unsigned s = 0; s < 16; s++) {
        const unsigned length = plan->lengths[s];
        if (!length)
            continue;
        const unsigned first = length > 8 ? plan->codes[s] >> (length - 8) : 0, rest = length > 8 ? length - 8 : length;
        uint8_t *row = luts + (length > 8 ? tables[first] * 256 : 0);
        const unsigned begin = (plan->codes[s] & ((1u << rest) - 1)) << (8 - rest);
        memset(row + begin, (int)s, (size_t)1 << (8 - rest));
        if (length > 8)
            luts[first] = (uint8_t)(256 - tables[first]);
        luts[(count + 1) * 256 + s] = (uint8_t)length;
    }
}

void ecf8_published_pack_begin(ecf8_published_packer *packer, const ecf8_published_plan *plan,
                               uint8_t *const buffers[ECF8_PUBLISHED_PARTS])
{
    *packer = (ecf8_published_packer){.plan = plan};
    memcpy(packer->parts, buffers, sizeof packer->parts);
    write_luts(plan, buffers[ECF8_PUBLISHED_LUTS]);
    memset(buffers[ECF8_PUBLISHED_GAPS], 0, plan->bytes[ECF8_PUBLISHED_GAPS]);
    memset(buffers[ECF8_PUBLISHED_POSITIONS], 0, plan->bytes[ECF8_PUBLISHED_POSITIONS]);
    for (unsigned i = 0; i < 256; i++) {
        const unsigned a = i & 15, b = i >> 4, length = plan->lengths[a] + plan->lengths[b];
        const uint32_t code = (uint32_t)plan->codes[a] << plan->lengths[b] | plan->codes[b];
        // Where one of the two does not occur the entry is 0: put_code finds the fault.
        if (plan->lengths[a] && plan->lengths[b])
            packer->pairs[i] = code << (32 - length) | length;
    }
}

// Writes the thread's word; the next code begins `gap` bits into the thread after it, with weight `next`.
static bool end_thread(ecf8_published_packer *p, unsigned gap, uint64_t next)
{
    const uint64_t encoded = p->plan->bytes[ECF8_PUBLISHED_ENCODED];
    const uint64_t word = __builtin_bswap64(p->word), at = p->thread * 8;
    if (at + 8 > encoded)
        return false;
    ecf8_store64(p->parts[ECF8_PUBLISHED_ENCODED] + at, word);
    const uint64_t thread = ++p->thread;
    if (at + 8 == encoded) // nothing follows
        return !gap;
    p->parts[ECF8_PUBLISHED_GAPS][thread / 2] |= (uint8_t)(gap << (thread % 2 ? 0 : 4));
    if (thread % THREADS == 0)
        ecf8_store64(p->parts[ECF8_PUBLISHED_POSITIONS] + thread / THREADS * 8, next);
    return true;
}

static bool put_code(ecf8_published_packer *p, unsigned exponent, uint64_t next)
{
    const unsigned length = p->plan->lengths[exponent], used = p->used_bits;
    if (!length)
        return false;
    const uint64_t code = (uint64_t)p->plan->codes[exponent] << (WORD_BITS - length);
    p->word |= code >> used;
    if (used + length < WORD_BITS) {
        p->used_bits = used + length;
        return true;
    }
    const unsigned left = used + length - WORD_BITS;
    if (!end_thread(p, left, next))
        return false;
    p->word = left ? code << (length - left) : 0;
    p->used_bits = left;
    return true;
}

static inline bool put_pair(ecf8_published_packer *p, uint8_t first, uint8_t second)
{
    const uint32_t entry = p->pairs[exponent_of(first) | exponent_of(second) << 4];
    const unsigned length = entry & LENGTH_MASK;
    p->parts[ECF8_PUBLISHED_NIBBLES][p->done / 2] =
        (uint8_t)((first & 0x80) | (first & 7) << 4 | (second >> 4 & 8) | (second & 7));
    p->done += 2;
    if (length && p->used_bits + length < WORD_BITS) {
        p->word |= (uint64_t)(entry & ~(uint32_t)LENGTH_MASK) << 32 >> p->used_bits;
        p->used_bits += length;
        return true;
    }
    return put_code(p, exponent_of(first), p->done - 1) && put_code(p, exponent_of(second), p->done);
}

static const char others[] = "the weights that were counted";

ecf8_status ecf8_published_pack(ecf8_published_packer *packer, const void *weights, uint64_t count,
                                ecf8_published_error *error)
{
    const uint8_t *w = weights;
    if (count > packer->plan->count - packer->done - packer->has_half)
        return fail(error, others);
    uint64_t i = 0;
    bool good = true;
    if (packer->has_half && count) {
        packer->has_half = false;
        good = put_pair(packer, packer->half, w[i++]);
    }
    ecf8_published_packer p = *packer; // its fields in registers
    for (; good && i + 2 <= count; i += 2)
        good = put_pair(&p, w[i], w[i + 1]);
    *packer = p;
    if (i < count) {
        packer->half = w[i];
        packer->has_half = true;
    }
    return good ? ECF8_OK : fail(error, others);
}

ecf8_status ecf8_published_pack_end(ecf8_published_packer *packer, ecf8_published_error *error)
{
    const ecf8_published_plan *plan = packer->plan;
    const uint64_t encoded = plan->bytes[ECF8_PUBLISHED_ENCODED], at = packer->thread * 8;
    if (packer->done != plan->count || at * 8 + packer->used_bits != plan->encoded_bits)
        return fail(error, others);
    for (uint64_t i = at; i < encoded; i++) // zeros after the last code
        packer->parts[ECF8_PUBLISHED_ENCODED][i] = (uint8_t)(packer->word >> (56 - 8 * (i - at)));
    ecf8_store64(packer->parts[ECF8_PUBLISHED_POSITIONS] + plan->bytes[ECF8_PUBLISHED_POSITIONS] - 8, plan->count);
    return ECF8_OK;
}
