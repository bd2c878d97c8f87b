// libecf8's encoder: every level gives the same symbols and words, any cut into ranges and threads the same blob; codes
// are the best; sizes keep to their bounds; what changes while it is encoded is found and does no harm.
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "codec/plan.h"
#include "tests/unit/ecf8_make.h"

enum { CANARY = 0x5a };

// Runs an encoding step over the tiles, `parts` threads a range each.
typedef struct ranges {
    ecf8_plan *plan;
    uint64_t first, count;
    uint8_t *blob; // NULL: scan or measure
    bool measure;
} ranges;

static void *run_range(void *argument)
{
    const ranges *r = argument;
    for (uint64_t t = r->count; t-- > 0;) { // one by one, from behind
        if (r->blob)
            ecf8_plan_pack(r->plan, r->first + t, 1, r->blob);
        else if (r->measure)
            ecf8_plan_measure(r->plan, r->first + t, 1);
        else
            ecf8_plan_scan(r->plan, r->first + t, 1);
    }
    return NULL;
}

static void run_step(ecf8_plan *plan, unsigned parts, uint8_t *blob, bool measure)
{
    const uint64_t tiles = ecf8_plan_tiles(plan);
    pthread_t threads[5];
    ranges r[5];
    for (unsigned i = 0; i < parts; i++) {
        const uint64_t first = tiles * i * i / parts / parts, end = tiles * (i + 1) * (i + 1) / parts / parts;
        r[i] = (ranges){plan, first, end - first, blob, measure};
        assert_int_equal(pthread_create(threads + i, NULL, run_range, r + i), 0);
    }
    for (unsigned i = 0; i < parts; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static uint8_t *encode_in_parts(const uint8_t *weights, uint64_t count, const ecf8_params *params, unsigned parts,
                                uint64_t *bytes)
{
    const uint64_t work_bytes = ecf8_plan_bytes(count, params);
    void *work = malloc(work_bytes);
    ecf8_plan *plan = ecf8_plan_begin(weights, count, params, work, work_bytes);
    assert_non_null(plan);
    run_step(plan, parts, NULL, false);
    ecf8_plan_decide(plan);
    run_step(plan, parts, NULL, true);
    *bytes = ecf8_plan_size(plan);
    uint8_t *blob = malloc(*bytes);
    memset(blob, CANARY, *bytes);
    run_step(plan, parts, blob, false);
    ecf8_plan_seal(plan, blob);
    free(work);
    return blob;
}

// Dtypes, densities, kinds and counts; one thread, and two and five with ranges of different lengths; scalar and the
// best.
static void test_same_bytes(void **state)
{
    (void)state;
    static const uint64_t counts[] = {0, 1, 2, 127, 129, 5001, 70001};
    static uint8_t tables[ECF8_DECODER_MAX_BYTES], out[2 * 70001];
    unsigned modes = 0;
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (unsigned kind = 0; kind <= ECF8_MADE_FEW; kind++)
            for (unsigned c = 0; c < sizeof counts / sizeof *counts; c++) {
                if (kind == ECF8_MADE_KINDS)
                    continue;
                uint8_t *weights = ecf8_made_weights(counts[c], dtype, (ecf8_made)kind, kind + c);
                for (unsigned density = 0; density <= ECF8_DENSITY_BALANCED; density++) {
                    const ecf8_params params = {dtype, 0, 0, (ecf8_density)density, c % 2 ? 0 : 896};
                    uint64_t bytes, other_bytes;
                    uint8_t *blob = ecf8_made_blob(weights, counts[c], &params, &bytes);
                    assert_non_null(blob);
                    for (unsigned way = 0; way < 3; way++) {
                        static const unsigned parts[] = {1, 2, 5};
                        if (way == 0)
                            setenv("ECD_CPU", "scalar", 1);
                        uint8_t *other = encode_in_parts(weights, counts[c], &params, parts[way], &other_bytes);
                        unsetenv("ECD_CPU");
                        assert_int_equal(bytes, other_bytes);
                        assert_memory_equal(blob, other, bytes);
                        free(other);
                    }
                    assert_int_equal(ecf8_made_decode(blob, bytes, ECF8_CPU_AUTO, tables, out, sizeof out, NULL), 0);
                    assert_memory_equal(out, weights, counts[c] * ecf8_dtype_bytes(dtype));
                    modes |= 1U << blob[ECF8_AT_MODE];
                    free(blob);
                }
                free(weights);
            }
    assert_int_equal(modes, 15);
}

// A code for the symbols of `symbols`, some left to patches.
static void make_code(const uint8_t *symbols, size_t count, ecf8_code *code)
{
    uint64_t h[ECF8_SYMBOLS] = {0};
    for (size_t i = 0; i < count; i++)
        h[symbols[i]] += 200;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        h[s] = h[s] == 200 ? 1 : h[s];
    ecf8_best_code(h, code);
}

// Symbols, sums and words by AVX2 are those of plain C, for any number of groups; nothing is written elsewhere.
static void test_levels_agree(void **state)
{
    (void)state;
    const ecf8_encoders *fast = ecf8_encoders_best(), *plain = &ecf8_encoders_scalar;
    if (fast == plain)
        skip();
    enum { MOST = ECF8_CHUNK_GROUPS * ECF8_GROUP };
    static uint8_t symbols[2][MOST + 1], planes[2][MOST + 1], words[2][MOST * 2 + 32];
    unsigned patched_groups = 0;
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (ecf8_mode mode = dtype == ECF8_E4M3 ? ECF8_MODE_PAIRS : ECF8_MODE_SINGLES; mode <= ECF8_MODE_SINGLES;
             mode++)
            for (uint32_t groups = 1; groups <= ECF8_CHUNK_GROUPS; groups += 1 + groups / 5) {
                const unsigned codes = ecf8_codes_per_group(mode);
                const size_t n = (size_t)groups * codes * ECF8_LANES;
                const size_t plane_bytes = (size_t)groups * ecf8_plane_group_bytes(dtype, mode);
                uint8_t *weights = ecf8_made_weights(groups * ECF8_GROUP, dtype, ECF8_MADE_RARE, groups);
                memset(symbols, CANARY, sizeof symbols);
                memset(planes, CANARY, sizeof planes);
                plain->symbols(weights, dtype, mode, groups, symbols[0], plane_bytes ? planes[0] : NULL);
                fast->symbols(weights, dtype, mode, groups, symbols[1], plane_bytes ? planes[1] : NULL);
                assert_memory_equal(symbols[0], symbols[1], sizeof symbols[0]);
                assert_memory_equal(planes[0], planes[1], sizeof planes[0]);
                assert_int_equal(symbols[0][n], CANARY);
                memset(symbols[1], CANARY, sizeof symbols[1]);
                fast->symbols(weights, dtype, mode, groups, symbols[1], NULL);
                assert_memory_equal(symbols[0], symbols[1], sizeof symbols[0]);

                ecf8_code code;
                make_code(symbols[0], n, &code);
                uint32_t sums[2][ECF8_LANES] = {{7}, {7}};
                plain->sum(&code.table, symbols[0], (size_t)groups * codes, sums[0]);
                fast->sum(&code.table, symbols[0], (size_t)groups * codes, sums[1]);
                assert_memory_equal(sums[0], sums[1], sizeof sums[0]);

                ecf8_packer packers[2];
                uint32_t patched[2];
                memset(words, CANARY, sizeof words);
                for (unsigned k = 0; k < 2; k++) {
                    packers[k] = (ecf8_packer){.table = &code.table, .code_bits = 12, .end = words[k] + MOST * 2 + 16};
                    for (unsigned l = 0; l < ECF8_LANES; l++)
                        packers[k].valid[l] = l % 16;
                    patched[k] = (k ? fast : plain)->pack(packers + k, symbols[0], codes, groups);
                }
                const size_t written = (size_t)(words[0] + MOST * 2 + 16 - packers[0].end);
                assert_int_equal(written, words[1] + MOST * 2 + 16 - packers[1].end);
                assert_memory_equal(packers[0].end, packers[1].end, written);
                assert_memory_equal(packers[0].window, packers[1].window, sizeof packers[0].window);
                assert_memory_equal(packers[0].valid, packers[1].valid, sizeof packers[0].valid);
                assert_int_equal(patched[0], patched[1]);
                patched_groups += (unsigned)__builtin_popcount(patched[0]);
                for (unsigned i = 0; i < 16; i++)
                    assert_int_equal(words[1][MOST * 2 + 16 + i], CANARY);
                for (uint8_t *p = words[1]; p < packers[1].end - 16; p++)
                    assert_int_equal(*p, CANARY);
                free(weights);
            }
    assert_true(patched_groups > 10);
}

// Cost of the best code when symbols that occur fewer than `least` times are left to patches, reckoned plainly.
static uint64_t plain_cost(const uint64_t h[ECF8_SYMBOLS], uint64_t least)
{
    uint64_t g[ECF8_SYMBOLS] = {0}, rare = 0, cost = 0;
    uint8_t lengths[ECF8_SYMBOLS];
    unsigned top = 0, used = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        top = h[s] > h[top] ? s : top;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        const bool keep = s == top || (h[s] && h[s] >= least);
        g[s] = keep ? h[s] : 0;
        rare += keep ? 0 : h[s];
        used += keep;
    }
    g[top] += rare;
    if (used < 2)
        g[!top] = 1;
    ecf8_package_merge(g, ECF8_MAX_CODE_BITS, lengths);
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        cost += h[s] * (lengths[s] ? lengths[s] : lengths[top] + 24U);
    return cost;
}

// Bounds only save work: the code is as cheap as the cheapest of all the thresholds, and says truly what it costs.
static void test_best_code(void **state)
{
    (void)state;
    uint64_t s = 4711;
    for (unsigned round = 0; round < 300; round++) {
        uint64_t h[ECF8_SYMBOLS] = {0}, total = 0, least = UINT64_MAX, cost = 0;
        const unsigned n = 1 + (unsigned)(ecf8_made_random(&s) % (round % 3 ? 256 : 4));
        for (unsigned i = 0; i < n; i++) {
            const uint64_t weight = (ecf8_made_random(&s) & 0xffffff) >> ecf8_made_random(&s) % 25;
            h[ecf8_made_random(&s) % ECF8_SYMBOLS] = round % 7 ? weight : weight % 3 * 50;
        }
        h[round % ECF8_SYMBOLS] += 1;
        for (unsigned i = 0; i < ECF8_SYMBOLS; i++)
            total += h[i];
        for (unsigned k = 16; k <= 36; k++) {
            const uint64_t c = plain_cost(h, k % 2 ? (total >> (k / 2)) * 181 / 256 : total >> (k / 2));
            least = c < least ? c : least;
        }
        const uint64_t all = plain_cost(h, 0);
        least = all < least ? all : least;
        ecf8_code code;
        uint16_t codes[ECF8_SYMBOLS];
        assert_true(ecf8_best_code(h, &code) == least);
        assert_true(ecf8_canonical_codes(code.lengths, ECF8_MAX_CODE_BITS, codes));
        for (unsigned i = 0; i < ECF8_SYMBOLS; i++) {
            const uint32_t entry = code.table.entries[i];
            cost += h[i] * ((entry & 15) + (entry & ECF8_ENTRY_PATCHED ? 24 : 0));
            assert_int_equal(!(entry & ECF8_ENTRY_PATCHED), code.lengths[i] > 0);
            assert_int_equal(entry >> 16, code.lengths[i] ? codes[i] : 0);
        }
        assert_true(cost == least);
        assert_int_equal(codes[code.fill], 0);
    }
}

static uint64_t size_of(const uint8_t *weights, uint64_t count, ecf8_density density, ecf8_mode *mode)
{
    const ecf8_params params = {ECF8_E4M3, 0, 0, density, 0};
    uint64_t bytes = 0;
    uint8_t *blob = ecf8_made_blob(weights, count, &params, &bytes);
    assert_non_null(blob);
    *mode = (ecf8_mode)blob[ECF8_AT_MODE];
    free(blob);
    return bytes;
}

// E4M3 of a number, subnormals cut to zero.
static uint8_t e4m3_of(double x)
{
    int exponent;
    const double mantissa = frexp(fabs(x), &exponent);
    exponent += 6;
    const uint8_t sign = x < 0 ? 0x80 : 0;
    return exponent < 1 ? sign : (uint8_t)(sign | exponent << 3 | (int)(mantissa * 16 - 8));
}

// Of six uniform numbers: nearly normal, of deviation 0.7.
static double sum_of_uniforms(uint64_t *s)
{
    double x = 0;
    for (unsigned k = 0; k < 6; k++)
        x += (double)(ecf8_made_random(s) >> 11) / (double)(UINT64_C(1) << 53) - 0.5;
    return x;
}

// Bell-shaped weights as trained ones are, the deviation and its spread between runs of weights given.
static uint8_t *bell(uint64_t count, double deviation, double spread)
{
    uint64_t s = 31337;
    uint8_t *out = malloc(count);
    for (uint64_t i = 0; i < count; i++) {
        const double x = sum_of_uniforms(&s);
        out[i] = e4m3_of(x * deviation * exp2(spread * (double)(i / 4096 % 7)));
    }
    return out;
}

// docs/SPEED.md: codes of the default stay within half a per cent of H(E) + 4 bits; each density is what it says; noise grows
// by less than 0.1%.
static void test_sizes(void **state)
{
    (void)state;
    enum { COUNT = 1 << 20 };
    static const double shapes[][2] = {{40, 0}, {0.03, 0}, {40, 0.2}, {10, 1}, {300, 0}};
    unsigned pairs = 0, singles = 0;
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint8_t *weights = bell(COUNT, shapes[i][0], shapes[i][1]);
        ecf8_mode modes[3];
        uint64_t bytes[3];
        for (unsigned density = 0; density < 3; density++)
            bytes[density] = size_of(weights, COUNT, (ecf8_density)density, modes + density);
        ecf8_stats stats;
        assert_int_equal(ecf8_stats_of(weights, COUNT, ECF8_E4M3, &stats), ECF8_OK);
        const double bound = stats.bound_bits * COUNT / 8, fast = (double)bytes[ECF8_DENSITY_FAST];
        assert_int_equal(modes[ECF8_DENSITY_FAST], ECF8_MODE_PAIRS);
        assert_true(fast < bound * 1.01);
        // Besides their codes, 16 tiles of 68 bytes and a table add 0.15%.
        assert_true((double)bytes[ECF8_DENSITY_BALANCED] <= bound * 1.0065);
        if (fast > bound * 1.007)
            assert_int_equal(modes[ECF8_DENSITY_BALANCED], ECF8_MODE_SINGLES);
        else if (fast < bound * 1.006)
            assert_int_equal(modes[ECF8_DENSITY_BALANCED], ECF8_MODE_PAIRS);
        assert_true(bytes[ECF8_DENSITY_BEST] <= bytes[ECF8_DENSITY_BALANCED]);
        assert_true(bytes[ECF8_DENSITY_BALANCED] <= bytes[ECF8_DENSITY_FAST]);
        pairs += modes[ECF8_DENSITY_BALANCED] == ECF8_MODE_PAIRS;
        singles += modes[ECF8_DENSITY_BALANCED] == ECF8_MODE_SINGLES;
        free(weights);
    }
    assert_true(pairs && singles);
    uint8_t *noise = ecf8_made_weights(COUNT, ECF8_E4M3, ECF8_MADE_NOISE, 1);
    ecf8_mode mode;
    for (unsigned density = 0; density < 3; density++)
        assert_true((double)size_of(noise, COUNT, (ecf8_density)density, &mode) <= COUNT * 1.001);
    free(noise);
}

// Rows of different deviations, 16 to a tile, so that tiles differ by little: four tables pay, and are found.
static void test_tables(void **state)
{
    (void)state;
    enum { ROW = 1024, TILE = 16 * ROW, COUNT = 64 * TILE };
    uint64_t s = 2025;
    uint8_t *weights = malloc(COUNT);
    for (unsigned row = 0; row < COUNT / ROW; row++) {
        const double deviation = 8 * exp2(sum_of_uniforms(&s) * sqrt(2));
        for (unsigned i = row * ROW; i < (row + 1) * ROW; i++)
            weights[i] = e4m3_of(sum_of_uniforms(&s) * deviation);
    }
    const ecf8_params params = {ECF8_E4M3, 0, 0, ECF8_DENSITY_FAST, TILE};
    uint64_t bytes;
    uint8_t *blob = ecf8_made_blob(weights, COUNT, &params, &bytes);
    assert_non_null(blob);
    assert_true(blob[ECF8_AT_TABLE_COUNT] >= 4);
    free(blob);
    free(weights);
}

// All byte values in a few proportions, with NaN and both zeros, and tensors that hold nothing else.
static void test_values(void **state)
{
    (void)state;
    enum { COUNT = 40001 };
    static uint8_t weights[COUNT], out[COUNT], tables[ECF8_DECODER_MAX_BYTES];
    static const uint8_t only[][2] = {{0x7f, 0x7f}, {0xff, 0x7f}, {0x00, 0x80}, {0x80, 0x80}, {0x00, 0x00}};
    for (unsigned kind = 0; kind < 3 + sizeof only / sizeof *only; kind++)
        for (unsigned density = 0; density < 3; density++) {
            const ecf8_params params = {ECF8_E4M3, 0, 0, (ecf8_density)density, 0};
            for (unsigned i = 0; i < COUNT; i++)
                weights[i] = kind == 0   ? (uint8_t)i
                             : kind == 1 ? (uint8_t)(i % 301 ? 0x38 | i % 7 : i / 301)
                             : kind == 2 ? (uint8_t)(i * i >> 8 | 0x30)
                                         : only[kind - 3][i * 7 % 13 > 5];
            uint64_t bytes;
            uint8_t *blob = ecf8_made_blob(weights, COUNT, &params, &bytes);
            assert_non_null(blob);
            assert_int_equal(ecf8_made_decode(blob, bytes, ECF8_CPU_AUTO, tables, out, sizeof out, NULL), ECF8_OK);
            assert_memory_equal(out, weights, COUNT);
            if (kind >= 3 && only[kind - 3][0] == only[kind - 3][1])
                assert_int_equal(blob[ECF8_AT_MODE], ECF8_MODE_CONSTANT);
            free(blob);
        }
}

// Weights that change between measuring and packing: the blob is wrong and says so, and nothing is written outside.
static void test_changing_weights(void **state)
{
    (void)state;
    enum { COUNT = 30000, AROUND = 4096 };
    static uint8_t tables[ECF8_DECODER_MAX_BYTES], out[COUNT];
    for (unsigned from = 0; from < 4; from++)
        for (unsigned density = 0; density < 2; density++) {
            const ecf8_params params = {ECF8_E4M3, 0, 0, (ecf8_density)density, 8192};
            uint8_t *weights = ecf8_made_weights(COUNT, ECF8_E4M3, ECF8_MADE_BELL, 3);
            uint8_t *later = ecf8_made_weights(COUNT, ECF8_E4M3, from % 2 ? ECF8_MADE_NOISE : ECF8_MADE_RARE, 5);
            const uint64_t work_bytes = ecf8_plan_bytes(COUNT, &params);
            void *work = malloc(work_bytes);
            ecf8_plan *plan = ecf8_plan_begin(weights, COUNT, &params, work, work_bytes);
            ecf8_plan_scan(plan, 0, 4);
            ecf8_plan_decide(plan);
            ecf8_plan_measure(plan, 0, 4);
            const uint64_t bytes = ecf8_plan_size(plan);
            uint8_t *around = malloc(bytes + 2 * AROUND), *blob = around + AROUND;
            memset(around, CANARY, bytes + 2 * AROUND);
            memcpy(weights, later, from < 2 ? COUNT : 8192);
            ecf8_plan_pack(plan, 0, 4, blob);
            ecf8_plan_seal(plan, blob);
            for (unsigned i = 0; i < AROUND; i++) {
                assert_int_equal(around[i], CANARY);
                assert_int_equal(blob[bytes + i], CANARY);
            }
            assert_int_not_equal(ecf8_made_decode(blob, bytes, ECF8_CPU_AUTO, tables, out, sizeof out, NULL), ECF8_OK);
            free(around);
            free(work);
            free(weights);
            free(later);
        }
}

// 2^31 + 1 weights in memory that was never written: zeros, then with one odd weight at the end. That one codes them
// all, for seconds and in 300 MB, so it waits for ECF8_TEST_HUGE.
static void test_many(void **state)
{
    (void)state;
    const uint64_t count = (UINT64_C(1) << 31) + 1;
    uint8_t *weights = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (weights == MAP_FAILED)
        skip(); // an address space too small
    static uint8_t tables[ECF8_DECODER_MAX_BYTES], out[ECF8_MAX_TILE];
    for (unsigned odd = 0; odd < (getenv("ECF8_TEST_HUGE") ? 2 : 1); odd++) {
        const ecf8_params params = {ECF8_E5M2, 0, 0, ECF8_DENSITY_BALANCED, 0};
        const uint64_t work_bytes = ecf8_plan_bytes(count, &params);
        void *work = malloc(work_bytes);
        weights[count - 1] = odd ? 0x55 : 0;
        ecf8_plan *plan = ecf8_plan_begin(weights, count, &params, work, work_bytes);
        assert_non_null(plan);
        const uint64_t tiles = ecf8_plan_tiles(plan);
        ecf8_plan_scan(plan, 0, tiles);
        ecf8_plan_decide(plan);
        ecf8_plan_measure(plan, 0, tiles);
        const uint64_t bytes = ecf8_plan_size(plan);
        uint8_t *blob = malloc(bytes);
        assert_non_null(blob);
        ecf8_plan_pack(plan, 0, tiles, blob);
        ecf8_plan_seal(plan, blob);
        ecf8_view view;
        ecf8_decoder d;
        assert_int_equal(ecf8_open(blob, bytes, &view, NULL), ECF8_OK);
        assert_true(view.count == count);
        assert_int_equal(view.mode, odd ? ECF8_MODE_SINGLES : ECF8_MODE_CONSTANT);
        assert_int_equal(ecf8_decoder_init(&d, &view, tables, sizeof tables, ECF8_CPU_AUTO, NULL), ECF8_OK);
        const uint64_t first = count - 1000;
        assert_int_equal(ecf8_decode_weights(&d, first, 1000, NULL, out, sizeof out, ECF8_VERIFY, NULL), ECF8_OK);
        assert_memory_equal(out, weights + first, 1000);
        if (odd)
            assert_int_equal(ecf8_verify(&d, NULL), ECF8_OK);
        free(blob);
        free(work);
    }
    munmap(weights, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),       cmocka_unit_test(test_levels_agree),
        cmocka_unit_test(test_best_code),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_tables),           cmocka_unit_test(test_values),
        cmocka_unit_test(test_changing_weights), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
