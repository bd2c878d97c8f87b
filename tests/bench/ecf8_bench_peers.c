// The coders that libecf8 is compared with: those found when this was configured, and a plain Huffman coder of its own.
#include "tests/bench/ecf8_bench.h"

#include <string.h>

#include "codec/published.h"

#ifdef ECF8_BENCH_ZSTD
#include <zstd.h>
#endif
#ifdef ECF8_BENCH_LZ4
#include <lz4.h>
#endif
#ifdef ECF8_BENCH_ZLIB
#include <zlib.h>
#endif

static bool decode_memcpy(ecf8_bench_row *row)
{
    memcpy(row->target, row->tensor->weights, row->tensor->bytes);
    return true;
}

void ecf8_bench_add_memcpy(ecf8_bench_table *table, const ecf8_bench_tensor *tensor)
{
    ecf8_bench_add(table, tensor, "memcpy", "copy")->decode = decode_memcpy;
}

// ---------------------------------------------------------------- general coders, on the bytes as they are

#ifdef ECF8_BENCH_ZSTD
static bool zstd_encode(ecf8_bench_row *row)
{
    row->coded_bytes =
        ZSTD_compress(row->coded, row->coded_capacity, row->tensor->weights, row->tensor->bytes, row->level);
    return !ZSTD_isError(row->coded_bytes);
}

static bool zstd_decode(ecf8_bench_row *row)
{
    return ZSTD_decompress(row->target, row->target_bytes, row->coded, row->coded_bytes) == row->tensor->bytes;
}
#endif

#ifdef ECF8_BENCH_LZ4
static bool lz4_encode(ecf8_bench_row *row)
{
    const int bytes = LZ4_compress_default((const char *)row->tensor->weights, (char *)row->coded,
                                           (int)row->tensor->bytes, (int)row->coded_capacity);
    row->coded_bytes = bytes > 0 ? (uint64_t)bytes : 0;
    return bytes > 0;
}

static bool lz4_decode(ecf8_bench_row *row)
{
    return LZ4_decompress_safe((const char *)row->coded, (char *)row->target, (int)row->coded_bytes,
                               (int)row->tensor->bytes) == (int)row->tensor->bytes;
}
#endif

#ifdef ECF8_BENCH_ZLIB
static bool zlib_encode(ecf8_bench_row *row)
{
    uLongf bytes = row->coded_capacity;
    const int result = compress2(row->coded, &bytes, row->tensor->weights, row->tensor->bytes, row->level);
    row->coded_bytes = bytes;
    return result == Z_OK;
}

static bool zlib_decode(ecf8_bench_row *row)
{
    uLongf bytes = row->target_bytes;
    return uncompress(row->target, &bytes, row->coded, row->coded_bytes) == Z_OK && bytes == row->tensor->bytes;
}
#endif

// ---------------------------------------------------------------- a plain scalar Huffman coder, E4M3

// What one writes first: a code of at most 12 bits for each exponent, one look-up a weight, sign and mantissa as
// nibbles.
enum { CODE_BITS = 12, EXPONENTS = 16 };

typedef struct plain_code {
    uint8_t lengths[EXPONENTS];
    uint16_t codes[EXPONENTS];
    uint16_t table[1 << CODE_BITS]; // length << 4 | exponent
} plain_code;

// Huffman by joining the two least, over and over; counts are halved until the longest code fits.
static void code_lengths(uint64_t counts[EXPONENTS], uint8_t lengths[EXPONENTS])
{
    for (unsigned longest = CODE_BITS + 1; longest > CODE_BITS;) {
        uint64_t weight[2 * EXPONENTS];
        uint8_t parent[2 * EXPONENTS] = {0}, depth[2 * EXPONENTS] = {0};
        bool open[2 * EXPONENTS] = {false};
        unsigned nodes = EXPONENTS;
        for (unsigned s = 0; s < EXPONENTS; s++) {
            weight[s] = counts[s] = counts[s] / 2 + 1; // every exponent gets a code
            open[s] = true;
        }
        for (; nodes < 2 * EXPONENTS - 1; nodes++) {
            weight[nodes] = 0;
            for (unsigned k = 0; k < 2; k++) {
                unsigned least = 2 * EXPONENTS;
                for (unsigned i = 0; i < nodes; i++)
                    if (open[i] && (least == 2 * EXPONENTS || weight[i] < weight[least]))
                        least = i;
                open[least] = false;
                parent[least] = (uint8_t)nodes;
                weight[nodes] += weight[least];
            }
            open[nodes] = true;
        }
        longest = 0;
        for (unsigned i = nodes - 1; i-- > 0;) {
            depth[i] = (uint8_t)(depth[parent[i]] + 1);
            longest = i < EXPONENTS && depth[i] > longest ? depth[i] : longest;
        }
        memcpy(lengths, depth, EXPONENTS);
    }
}

static void make_code(plain_code *code)
{
    unsigned next = 0, at = 0;
    for (unsigned length = 1; length <= CODE_BITS; length++, next <<= 1)
        for (unsigned s = 0; s < EXPONENTS; s++)
            if (code->lengths[s] == length) {
                code->codes[s] = (uint16_t)next++;
                for (unsigned i = 0; i < 1U << (CODE_BITS - length); i++)
                    code->table[at++] = (uint16_t)(length << 4 | s);
            }
}

// coded: lengths, nibbles (two weights a byte), bits with the most significant first, 8 bytes that may be read.
static bool plain_encode(ecf8_bench_row *row)
{
    const uint8_t *w = row->tensor->weights;
    const uint64_t n = row->tensor->count;
    plain_code code;
    uint64_t counts[EXPONENTS] = {0}, bits = 0;
    for (uint64_t i = 0; i < n; i++)
        counts[w[i] >> 3 & 15]++;
    code_lengths(counts, code.lengths);
    make_code(&code);
    memcpy(row->coded, code.lengths, EXPONENTS);
    uint8_t *nibbles = row->coded + EXPONENTS, *out = nibbles + (n + 1) / 2;
    unsigned held = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t nibble = (uint8_t)((w[i] >> 4 & 8) | (w[i] & 7)), e = w[i] >> 3 & 15;
        nibbles[i / 2] = (uint8_t)(i % 2 ? nibbles[i / 2] | nibble << 4 : nibble);
        bits = bits << code.lengths[e] | code.codes[e];
        for (held += code.lengths[e]; held >= 8; held -= 8)
            *out++ = (uint8_t)(bits >> (held - 8));
    }
    *out++ = (uint8_t)(bits << (8 - held));
    row->coded_bytes = (uint64_t)(out - row->coded);
    memset(out, 0, 8);
    return true;
}

static bool plain_decode(ecf8_bench_row *row)
{
    const uint64_t n = row->tensor->count;
    plain_code code;
    memcpy(code.lengths, row->coded, EXPONENTS);
    make_code(&code);
    const uint8_t *nibbles = row->coded + EXPONENTS, *in = nibbles + (n + 1) / 2;
    const uint8_t *end = row->coded + row->coded_bytes;
    uint64_t window = 0; // bits of the stream from its top on
    unsigned held = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (held < CODE_BITS) {
            if (in > end) // up to 8 bytes behind may be read
                return false;
            uint32_t word;
            memcpy(&word, in, 4);
            window |= (uint64_t)__builtin_bswap32(word) << (32 - held);
            in += 4;
            held += 32;
        }
        const uint16_t entry = code.table[window >> (64 - CODE_BITS)];
        window <<= entry >> 4;
        held -= entry >> 4;
        const uint8_t nibble = nibbles[i / 2] >> (i % 2 * 4) & 15;
        row->target[i] = (uint8_t)((entry & 15) << 3 | (nibble & 8) << 4 | (nibble & 7));
    }
    return true;
}

// ---------------------------------------------------------------- the published format, E4M3

// Its buffers one behind the other; the decoder is opened anew each time, as its tables are a small part of the work.
static bool published_encode(ecf8_bench_row *row)
{
    const ecf8_bench_tensor *t = row->tensor;
    ecf8_published_plan *plan = row->state;
    ecf8_published_packer packer;
    uint8_t *parts[ECF8_PUBLISHED_PARTS], *at = row->coded;
    memset(plan, 0, sizeof *plan);
    ecf8_published_count(plan, t->weights, t->count);
    if (ecf8_published_decide(plan, NULL))
        return false;
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        parts[i] = at;
        at += plan->bytes[i];
    }
    row->coded_bytes = (uint64_t)(at - row->coded);
    ecf8_published_pack_begin(&packer, plan, parts);
    return row->coded_bytes <= row->coded_capacity && !ecf8_published_pack(&packer, t->weights, t->count, NULL) &&
           !ecf8_published_pack_end(&packer, NULL);
}

static bool published_decode(ecf8_bench_row *row)
{
    static uint8_t memory[ECF8_PUBLISHED_DECODER_BYTES];
    const ecf8_published_plan *plan = row->state;
    ecf8_published_buffer parts[ECF8_PUBLISHED_PARTS];
    ecf8_published group;
    ecf8_published_decoder decoder;
    const uint8_t *at = row->coded;
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        parts[i] = (ecf8_published_buffer){at, plan->bytes[i]};
        at += plan->bytes[i];
    }
    return !ecf8_published_open(parts, ECF8_PUBLISHED_THREADS, &group, NULL) &&
           !ecf8_published_decoder_init(&decoder, &group, memory, sizeof memory, NULL) &&
           !ecf8_published_decode(&decoder, 0, row->tensor->count, row->target, row->target_bytes, 0, NULL);
}

// ----------------------------------------------------------------

static bool add_coder(ecf8_bench_table *table, const ecf8_bench_tensor *t, const char *name, int level,
                      bool (*encode)(ecf8_bench_row *), bool (*decode)(ecf8_bench_row *))
{
    ecf8_bench_row *row = ecf8_bench_add(table, t, name, "bytes");
    row->state = ecf8_bench_take(table, sizeof(ecf8_published_plan));
    row->level = level;
    row->encode = encode;
    row->decode = decode;
    row->coded_capacity = t->bytes + t->bytes / 2 + 65536; // more than the bound of any of them
    row->coded = ecf8_bench_take(table, row->coded_capacity);
    if (encode(row))
        return true;
    fprintf(stderr, "ecf8_bench: %s cannot encode %llu bytes\n", name, (unsigned long long)t->bytes);
    return false;
}

bool ecf8_bench_add_peers(ecf8_bench_table *table, const ecf8_bench_tensor *t)
{
    bool good = true;
#ifdef ECF8_BENCH_ZSTD
    good = good && add_coder(table, t, "zstd -1", 1, zstd_encode, zstd_decode);
    good = good && add_coder(table, t, "zstd -3", 3, zstd_encode, zstd_decode);
#endif
#ifdef ECF8_BENCH_LZ4
    good = good && add_coder(table, t, "lz4", 1, lz4_encode, lz4_decode);
#endif
#ifdef ECF8_BENCH_ZLIB
    good = good && add_coder(table, t, "zlib -6", 6, zlib_encode, zlib_decode);
#endif
    if (t->dtype == ECF8_E4M3)
        good = good && add_coder(table, t, "published ECF8 0.2.0", 0, published_encode, published_decode);
    if (t->dtype == ECF8_E4M3)
        good = good && add_coder(table, t, "plain scalar Huffman", 0, plain_encode, plain_decode);
    return good;
}

void ecf8_bench_peer_versions(char *text, size_t size)
{
    snprintf(text, size, "published format and plain Huffman (own)");
#ifdef ECF8_BENCH_ZSTD
    snprintf(text + strlen(text), size - strlen(text), ", zstd %s", ZSTD_versionString());
#endif
#ifdef ECF8_BENCH_LZ4
    snprintf(text + strlen(text), size - strlen(text), ", lz4 %s", LZ4_versionString());
#endif
#ifdef ECF8_BENCH_ZLIB
    snprintf(text + strlen(text), size - strlen(text), ", zlib %s", zlibVersion());
#endif
}
