// ecf8_bench --data: sizes of real tensors, each as it is and cast to E4M3 (raw, and scaled to the full range by rows)
// and to BF16, against what coding exponents alone can reach.
#include "tests/bench/ecf8_bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tests/bench/weights_like.h"

enum { DENSITIES = 3, SMALL_BYTES = 16384 };

typedef enum variant { AS_IS, BF16_CAST, E4M3_CAST, E4M3_ROWS, VARIANTS } variant;

static const char *const VARIANT_NAMES[VARIANTS] = {"as it is", "BF16", "E4M3, raw cast", "E4M3, row scales"};
static const char *const DENSITY_NAMES[DENSITIES] = {"fast", "best", "balanced"}; // by ecf8_density

typedef struct total {
    uint64_t tensors, weights, raw_bytes;
    double bound_bytes;
    uint64_t bytes[DENSITIES];
    uint64_t over_bound[DENSITIES],
        over_bound_small[DENSITIES];                         // tensors above 1.005 of the bound; those of them small
    uint64_t over_raw[DENSITIES], over_raw_small[DENSITIES]; // above raw + 0.1%
    double seconds[DENSITIES][2];
} total;

// A tensor of a safetensors file.
typedef struct source {
    const char *name;
    ecf8_dtype dtype; // 0: F32
    uint64_t count, rows;
    const uint8_t *data;
} source;

static float value_of(const source *t, uint64_t i)
{
    const size_t size = t->dtype ? 2 : 4;
    uint32_t bits = 0;
    float x;
    memcpy(&bits, t->data + i * size, size);
    if (t->dtype == ECF8_F16) {
        const int e = (int)(bits >> 10 & 31);
        const float m = (float)(bits & 0x3ff);
        x = e == 31 ? (bits & 0x3ff ? NAN : INFINITY) : e ? ldexpf(1024 + m, e - 25) : ldexpf(m, -24);
        return bits & 0x8000 ? -x : x;
    }
    bits = t->dtype == ECF8_BF16 ? bits << 16 : bits;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > UINT32_C(0x7f800000))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void cast(const source *t, variant how, uint64_t cols, uint8_t *out)
{
    for (uint64_t at = 0; at < t->count; at += cols) {
        float scale = 1, most = 0;
        for (uint64_t i = at; how == E4M3_ROWS && i < at + cols; i++)
            most = fmaxf(most, fabsf(value_of(t, i)));
        if (most > 0)
            scale = 448 / most;
        for (uint64_t i = at; i < at + cols; i++) {
            const float x = value_of(t, i);
            const uint16_t wide = bf16_of(x);
            if (how == BF16_CAST)
                memcpy(out + i * 2, &wide, 2);
            else
                out[i] = ecf8_bench_e4m3(x * scale);
        }
    }
}

static bool measure(const char *name, const ecf8_bench_tensor *t, variant how, ecf8_cpu cpu, bool json, total *sum)
{
    const double bound = t->stats.bound_bits * (double)t->count / 8;
    sum->tensors++;
    sum->weights += t->count;
    sum->raw_bytes += t->bytes;
    sum->bound_bytes += bound;
    for (unsigned d = 0; d < DENSITIES; d++) {
        uint64_t bytes = 0;
        if (!ecf8_bench_size(t, (ecf8_density)d, cpu, &bytes, sum->seconds[d])) {
            fprintf(stderr, "ecf8_bench: %s, %s, %s: not the same after decoding\n", name, VARIANT_NAMES[how],
                    DENSITY_NAMES[d]);
            return false;
        }
        const bool small = t->bytes<SMALL_BYTES, over = (double)bytes> bound * 1.005;
        const bool over_raw = (double)bytes > (double)t->bytes * 1.001;
        sum->bytes[d] += bytes;
        sum->over_bound[d] += over;
        sum->over_bound_small[d] += over && small;
        sum->over_raw[d] += over_raw;
        sum->over_raw_small[d] += over_raw && small;
        if (over && !small && !json)
            printf(
                "over the bound: %-50s %-16s %-8s %9llu weights, H(E) bound %.3f, H(byte) %.3f, %.3f bits (%+.2f%%)\n",
                name, VARIANT_NAMES[how], DENSITY_NAMES[d], (unsigned long long)t->count, t->stats.bound_bits,
                t->stats.byte_bits, 8.0 * (double)bytes / (double)t->count, ((double)bytes / bound - 1) * 100);
    }
    return true;
}

static bool measure_variants(const source *in, ecf8_cpu cpu, bool json, total sums[VARIANTS])
{
    const bool wide = !in->dtype || ecf8_dtype_bytes(in->dtype) == 2;
    const uint64_t cols = in->count / in->rows;
    uint8_t *memory = malloc(in->count * 2);
    bool good = memory != NULL;
    for (variant how = AS_IS; how < VARIANTS && good; how++) {
        if (how == AS_IS ? !in->dtype : !wide || (how == BF16_CAST && in->dtype == ECF8_BF16))
            continue;
        ecf8_bench_tensor t = {.weights = memory, .count = in->count, .rows = in->rows, .cols = cols};
        t.dtype = how == AS_IS ? in->dtype : how == BF16_CAST ? ECF8_BF16 : ECF8_E4M3;
        t.bytes = t.count * ecf8_dtype_bytes(t.dtype);
        if (how == AS_IS)
            t.weights = in->data;
        else
            cast(in, how, cols, memory);
        good =
            !ecf8_stats_of(t.weights, t.count, t.dtype, &t.stats) && measure(in->name, &t, how, cpu, json, &sums[how]);
    }
    free(memory);
    return good;
}

// ---------------------------------------------------------------- safetensors

static bool dtype_of(const char *name, ecf8_dtype *dtype, uint64_t *size)
{
    static const char *const names[] = {"F32", "F8_E4M3", "F8_E5M2", "BF16", "F16"}; // by ecf8_dtype
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (name && !strcmp(name, names[i])) {
            *dtype = (ecf8_dtype)i;
            *size = i ? ecf8_dtype_bytes(*dtype) : 4;
            return true;
        }
    return false;
}

// False: not a tensor of floats, or its extent does not fit.
static bool source_of(const cJSON *entry, const uint8_t *data, uint64_t data_bytes, source *out)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets"), *dim;
    const double begin = cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 0));
    const double end = cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 1));
    uint64_t size, dims = 0;
    *out = (source){.name = entry->string, .rows = 1};
    if (!dtype_of(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "dtype")), &out->dtype, &size) ||
        !(begin >= 0 && begin < end && end <= (double)data_bytes))
        return false;
    out->count = (uint64_t)(end - begin) / size;
    out->data = data + (uint64_t)begin;
    cJSON_ArrayForEach(dim, cJSON_GetObjectItemCaseSensitive(entry, "shape"))
    {
        if (dims++ == 0 && dim->valuedouble >= 1 && dim->valuedouble <= (double)out->count)
            out->rows = (uint64_t)dim->valuedouble;
    }
    if (dims < 2 || out->count % out->rows)
        out->rows = 1; // a vector is one row
    return out->count > 0;
}

static uint8_t *read_file(const char *path, uint64_t *bytes)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    if (f && !fseek(f, 0, SEEK_END) && (size = ftell(f)) > 8 && !fseek(f, 0, SEEK_SET) &&
        (data = malloc((size_t)size)) && fread(data, 1, (size_t)size, f) != (size_t)size) {
        free(data);
        data = NULL;
    }
    if (f)
        fclose(f);
    *bytes = size > 0 ? (uint64_t)size : 0;
    return data;
}

static bool measure_file(const char *path, ecf8_cpu cpu, bool json, total sums[VARIANTS])
{
    uint64_t bytes = 0, header = 0;
    uint8_t *file = read_file(path, &bytes);
    cJSON *tree = NULL;
    if (file)
        memcpy(&header, file, 8);
    if (file && header <= bytes - 8)
        tree = cJSON_ParseWithLength((const char *)file + 8, header);
    bool good = tree != NULL;
    if (!good)
        fprintf(stderr, "ecf8_bench: %s: not a safetensors file that can be read\n", path);
    const cJSON *entry;
    source in;
    cJSON_ArrayForEach(entry, tree)
    {
        if (good && source_of(entry, file + 8 + header, bytes - 8 - header, &in))
            good = measure_variants(&in, cpu, json, sums);
    }
    cJSON_Delete(tree);
    free(file);
    return good;
}

static void print_total(const total *t, const char *name, bool json, bool first)
{
    if (json)
        printf("%s{\"variant\": \"%s\", \"tensors\": %llu, \"weights\": %llu, \"bound_bits\": %.4f, \"densities\": [",
               first ? "" : ", ", name, (unsigned long long)t->tensors, (unsigned long long)t->weights,
               8 * t->bound_bytes / (double)t->weights);
    for (unsigned d = 0; d < DENSITIES; d++) {
        const double bits = 8.0 * (double)t->bytes[d] / (double)t->weights;
        if (json)
            printf(
                "%s{\"density\": \"%s\", \"bits_per_weight\": %.4f, \"over_bound\": %llu, \"over_bound_small\": %llu, "
                "\"over_raw\": %llu, \"over_raw_small\": %llu}",
                d ? ", " : "", DENSITY_NAMES[d], bits, (unsigned long long)t->over_bound[d],
                (unsigned long long)t->over_bound_small[d], (unsigned long long)t->over_raw[d],
                (unsigned long long)t->over_raw_small[d]);
        else
            printf("| %-16s | %-8s | %5llu | %8.2f | %6.3f | %6.3f | %+6.2f%% | %4llu (%llu) | %4llu (%llu) | %.3f | "
                   "%.3f |\n",
                   name, DENSITY_NAMES[d], (unsigned long long)t->tensors, (double)t->weights * 1e-6,
                   8 * t->bound_bytes / (double)t->weights, bits, ((double)t->bytes[d] / t->bound_bytes - 1) * 100,
                   (unsigned long long)t->over_bound[d],
                   (unsigned long long)(t->over_bound[d] - t->over_bound_small[d]), (unsigned long long)t->over_raw[d],
                   (unsigned long long)(t->over_raw[d] - t->over_raw_small[d]),
                   (double)t->weights / t->seconds[d][0] * 1e-9, (double)t->weights / t->seconds[d][1] * 1e-9);
    }
    if (json)
        printf("]}");
}

int ecf8_bench_files(int count, char **paths, ecf8_cpu cpu, bool json)
{
    total sums[VARIANTS] = {0};
    for (int i = 0; i < count; i++)
        if (!measure_file(paths[i], cpu, json, sums))
            return 2;
    if (json)
        printf("{\"small_bytes\": %d, \"variants\": [", SMALL_BYTES);
    else
        printf(
            "\nover: tensors above 1.005 of the bound, and above raw + 0.1%%; in brackets those of %d bytes or more\n"
            "encode, decode: 1e9 weights a second of CPU time, decoding verified, once each\n\n"
            "| tensors | density | number | 1e6 weights | bound | bits/w | over | over bound | over raw | encode | "
            "decode |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|\n",
            SMALL_BYTES);
    bool first = true;
    for (variant how = AS_IS; how < VARIANTS; how++)
        if (sums[how].tensors) {
            print_total(&sums[how], VARIANT_NAMES[how], json, first);
            first = false;
        }
    if (json)
        printf("]}\n");
    return 0;
}
