// ecf8_bench: sizes and speeds of libecf8 beside its peers, interleaved in one process.
//
// Every round runs every row once, so that what disturbs the machine disturbs all of them alike; given are medians and
// quartiles over the rounds, and the median of each round's ratio to that round's memcpy. Every row's result is
// compared with what it should be before anything is timed.
#include "tests/bench/ecf8_bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/weights_like.h"

typedef struct options {
    ecf8_cpu cpu;
    unsigned mib, rounds, threads, kinds; // kinds: a bit each
    bool json, peers, cpu_time;
    int file_count;
    char *files[64];
} options;

static const char USAGE[] = "usage: ecf8_bench [--cpu auto|scalar|avx2|avx512] [--mib N] [--rounds N] [--threads N] "
                            "[--only NAME] [--no-peers]\n"
                            "                  [--clock wall|cpu] [--json] [--data FILE]...\n"
                            "  --mib N      megabytes of weights of each distribution (16)\n"
                            "  --rounds N   how often each row runs (9; slow rows less often)\n"
                            "  --threads N  of the rows that use several (2)\n"
                            "  --only NAME  distributions whose name contains NAME\n"
                            "  --clock cpu  time of the calling thread instead of the wall's, for busy machines (rows "
                            "with threads: the wall's)\n"
                            "  --data FILE  instead: sizes of every tensor of floats in a safetensors file\n";

double ecf8_bench_seconds(bool cpu)
{
    struct timespec t;
    clock_gettime(cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---------------------------------------------------------------- tables

void *ecf8_bench_take(ecf8_bench_table *table, uint64_t bytes)
{
    const size_t owned = sizeof table->owned / sizeof *table->owned;
    void *memory = NULL;
    if (table->owned_count == owned || posix_memalign(&memory, 4096, bytes ? bytes : 1)) {
        fprintf(stderr, "ecf8_bench: no memory for %llu bytes\n", (unsigned long long)bytes);
        exit(3);
    }
    table->owned[table->owned_count++] = memory;
    return memory;
}

ecf8_bench_row *ecf8_bench_add(ecf8_bench_table *table, const ecf8_bench_tensor *tensor, const char *name,
                               const char *out)
{
    if (table->count == ECF8_BENCH_MAX_ROWS) {
        fprintf(stderr, "ecf8_bench: too many rows\n");
        exit(3);
    }
    if (!table->target) {
        table->target_bytes = tensor->count * 4 + 4096;
        table->target = ecf8_bench_take(table, table->target_bytes);
        memset(table->target, 0x5a, table->target_bytes); // no page faults later
    }
    ecf8_bench_row *row = &table->rows[table->count++];
    *row = (ecf8_bench_row){.name = name,
                            .out = out,
                            .tensor = tensor,
                            .threads = 1,
                            .target = table->target,
                            .target_bytes = table->target_bytes};
    return row;
}

void ecf8_bench_drop(ecf8_bench_table *table)
{
    for (unsigned i = 0; i < table->owned_count; i++)
        free(table->owned[i]);
    *table = (ecf8_bench_table){0};
}

// ---------------------------------------------------------------- timing

// Of several threads their sum, which divided by their number is what they take where each has a core to itself.
static double cpu_seconds(const ecf8_bench_row *row)
{
    struct timespec t;
    clock_gettime(row->threads > 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void sample(ecf8_bench_samples *samples, ecf8_bench_row *row, bool (*run)(ecf8_bench_row *))
{
    const double wall = ecf8_bench_seconds(false), cpu = cpu_seconds(row);
    if (!run(row)) {
        fprintf(stderr, "ecf8_bench: %s failed while it was timed\n", row->name);
        exit(2);
    }
    samples->cpu[samples->count] = (cpu_seconds(row) - cpu) / row->threads;
    samples->wall[samples->count++] = ecf8_bench_seconds(false) - wall;
}

static void check_rows(ecf8_bench_table *table)
{
    for (unsigned i = 0; i < table->count; i++) {
        ecf8_bench_row *row = &table->rows[i];
        memset(row->target, 0x5a, row->target_bytes);
        const bool good =
            row->decode(row) &&
            (row->check ? row->check(row) : !memcmp(row->target, row->tensor->weights, row->tensor->bytes));
        if (!good) {
            fprintf(stderr, "ecf8_bench: %s to %s gives wrong weights\n", row->name, row->out);
            exit(2);
        }
    }
}

// A slow row is run three times, a very slow one once: its rate needs fewer.
static bool enough(const ecf8_bench_samples *s)
{
    return (s->count >= 3 && s->wall[0] > 0.15) || (s->count && s->wall[0] > 0.5);
}

static void time_rows(ecf8_bench_table *table, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < table->count; i++) {
            ecf8_bench_row *row = &table->rows[i];
            if (!enough(&row->decoding))
                sample(&row->decoding, row, row->decode);
            if (row->encode && !enough(&row->encoding) && (round < 3 || row->encoding.wall[0] < 0.05))
                sample(&row->encoding, row, row->encode);
        }
}

// ---------------------------------------------------------------- figures

typedef struct figure {
    double median, low, high; // quartiles
} figure;

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static figure figure_of(double *values, unsigned count)
{
    if (!count)
        return (figure){0};
    qsort(values, count, sizeof *values, compare);
    return (figure){values[count / 2], values[count / 4], values[count - 1 - count / 4]};
}

// 1e9 weights a second.
static figure rate(const ecf8_bench_row *row, const ecf8_bench_samples *s, bool cpu_time)
{
    double values[ECF8_BENCH_MAX_ROUNDS];
    for (unsigned i = 0; i < s->count; i++)
        values[i] = (double)row->tensor->count / (cpu_time ? s->cpu : s->wall)[i] * 1e-9;
    return figure_of(values, s->count);
}

// Of the rates in the same round: this row's decoding over the other's.
static double ratio(const ecf8_bench_row *row, const ecf8_bench_row *other, bool cpu_time)
{
    double values[ECF8_BENCH_MAX_ROUNDS];
    const unsigned a = row->decoding.count, b = other->decoding.count, count = a < b ? a : b;
    for (unsigned i = 0; i < count; i++)
        values[i] = (cpu_time ? other->decoding.cpu[i] : other->decoding.wall[i]) /
                    (cpu_time ? row->decoding.cpu[i] : row->decoding.wall[i]);
    return figure_of(values, count).median;
}

static double bits_of(const ecf8_bench_row *row)
{
    return 8.0 * (double)row->coded_bytes / (double)row->tensor->count;
}

// ---------------------------------------------------------------- report

static void cpu_model(char *text, size_t size)
{
    char line[256];
    snprintf(text, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
            snprintf(text, size, "%s", strchr(line, ':') + 2);
            text[strcspn(text, "\n")] = 0;
            break;
        }
    if (f)
        fclose(f);
}

static const char *compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

static void print_head(const options *o, int argc, char **argv)
{
    char cpu[128], peers[256];
    cpu_model(cpu, sizeof cpu);
    ecf8_bench_peer_versions(peers, sizeof peers);
    const char *clock = o->cpu_time ? "CPU time" : "wall time";
    if (o->json) {
        printf("{\"cpu\": \"%s\", \"cores\": %ld, \"level\": \"%s\", \"compiler\": \"%s\", \"peers\": \"%s\", "
               "\"clock\": \"%s\", \"unit\": \"1e9 weights a second\", \"distributions\": [",
               cpu, sysconf(_SC_NPROCESSORS_ONLN), ecf8_cpu_name(o->cpu), compiler(), peers, clock);
        return;
    }
    printf("command:");
    for (int i = 0; i < argc; i++)
        printf(" %s", argv[i]);
    printf("\ncpu: %s, %ld cores, libecf8 %d.%d at level %s\ncompiler: %s\npeers: %s\n", cpu,
           sysconf(_SC_NPROCESSORS_ONLN), ECF8_VERSION_MAJOR, ECF8_VERSION_MINOR, ecf8_cpu_name(o->cpu), compiler(),
           peers);
    printf("rates: 1e9 weights a second (of E4M3: GB/s), %s, median (quartiles); x memcpy: of memory to memory\n",
           clock);
}

static void print_row(const options *o, const ecf8_bench_row *row, const ecf8_bench_row *base, bool first)
{
    const figure decoding = rate(row, &row->decoding, o->cpu_time), encoding = rate(row, &row->encoding, o->cpu_time);
    const double bound = row->tensor->stats.bound_bits, bits = bits_of(row), over = (bits / bound - 1) * 100;
    const double times = ratio(row, base, o->cpu_time);
    if (o->json) {
        printf("%s{\"coder\": \"%s\", \"out\": \"%s\", \"threads\": %u, \"bits_per_weight\": %.4f, "
               "\"decode\": [%.3f, %.3f, %.3f], \"encode\": [%.4f, %.4f, %.4f], \"of_memcpy\": %.3f}",
               first ? "" : ", ", row->name, row->out, row->threads, row->coded_bytes ? bits : 0, decoding.low,
               decoding.median, decoding.high, encoding.low, encoding.median, encoding.high, times);
        return;
    }
    char size[32] = "", over_text[32] = "", coding[32] = "";
    if (row->coded_bytes) {
        snprintf(size, sizeof size, "%.3f", bits);
        snprintf(over_text, sizeof over_text, "%+.2f%%", over);
    }
    if (row->encoding.count)
        snprintf(coding, sizeof coding, "%.3f", encoding.median);
    printf("| %-20s | %-28s | %6s | %7s | %6s | %6.2f (%.2f to %.2f) | %5.2f |\n", row->name, row->out, size, over_text,
           coding, decoding.median, decoding.low, decoding.high, times);
}

static void print_table(const options *o, const char *name, const ecf8_bench_table *table, bool first)
{
    const ecf8_bench_tensor *t = table->rows[0].tensor;
    if (o->json)
        printf("%s{\"name\": \"%s\", \"weights\": %llu, \"bound_bits\": %.4f, \"byte_bits\": %.4f, \"rows\": [",
               first ? "" : ", ", name, (unsigned long long)t->count, t->stats.bound_bits, t->stats.byte_bits);
    else
        printf("\n%s: %llu weights, H(E)+4 = %.3f, H(byte) = %.3f bits\n\n"
               "| coder | to | bits/w | over | encode | decode | x memcpy |\n|---|---|---|---|---|---|---|\n",
               name, (unsigned long long)t->count, t->stats.bound_bits, t->stats.byte_bits);
    for (unsigned i = 0; i < table->count; i++)
        print_row(o, &table->rows[i], &table->rows[0], i == 0);
    const ecf8_bench_row *one = NULL;
    for (unsigned i = 0; i < table->count; i++) {
        const ecf8_bench_row *row = &table->rows[i];
        if (!one && row->coded_bytes)
            one = row;
        if (one && row->threads > 1 && !o->json)
            printf("\n%u threads against one: %.2f by wall time, %.2f by CPU time\n", row->threads,
                   ratio(row, one, false), ratio(row, one, true));
    }
    if (o->json)
        printf("]}");
    fflush(stdout);
}

static bool bench_kind(const options *o, ecf8_bench_kind kind, bool first)
{
    const uint64_t rows = ((uint64_t)o->mib << 20) / ECF8_BENCH_COLS;
    ecf8_bench_table table = {0};
    ecf8_bench_tensor t = {.count = rows * ECF8_BENCH_COLS, .rows = rows, .cols = ECF8_BENCH_COLS, .dtype = ECF8_E4M3};
    t.bytes = t.count;
    uint8_t *weights = ecf8_bench_take(&table, t.bytes);
    t.weights = weights;
    bool good = ecf8_bench_fill(kind, weights, rows) && !ecf8_stats_of(weights, t.count, t.dtype, &t.stats);
    if (good) {
        ecf8_bench_add_memcpy(&table, &t);
        good = ecf8_bench_add_ours(&table, &t, o->cpu, o->threads);
        good = good && (!o->peers || ecf8_bench_add_peers(&table, &t));
    }
    if (good) {
        check_rows(&table);
        time_rows(&table, o->rounds);
        print_table(o, ecf8_bench_kind_name(kind), &table, first);
    }
    ecf8_bench_drop(&table);
    return good;
}

// ---------------------------------------------------------------- options

static bool number(const char *text, unsigned least, unsigned most, unsigned *out)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    *out = (unsigned)value;
    return *text && !*end && value >= least && value <= most;
}

static bool cpu_of(const char *text, ecf8_cpu *cpu)
{
    for (*cpu = ECF8_CPU_AUTO; *cpu <= ECF8_CPU_AVX512; (*cpu)++)
        if (!strcmp(text, ecf8_cpu_name(*cpu)))
            return true;
    return false;
}

static bool take(options *o, const char *name, char *value)
{
    if (!value)
        return false;
    if (!strcmp(name, "--cpu"))
        return cpu_of(value, &o->cpu);
    if (!strcmp(name, "--mib")) // rows come in bands of 128; 1023 keeps lz4's int
        return number(value, 1, 1023, &o->mib);
    if (!strcmp(name, "--rounds"))
        return number(value, 1, ECF8_BENCH_MAX_ROUNDS, &o->rounds);
    if (!strcmp(name, "--threads"))
        return number(value, 1, 16, &o->threads);
    if (!strcmp(name, "--only")) {
        o->kinds = 0;
        for (unsigned k = 0; k < ECF8_BENCH_KINDS; k++)
            if (strstr(ecf8_bench_kind_name((ecf8_bench_kind)k), value))
                o->kinds |= 1U << k;
        return o->kinds;
    }
    if (!strcmp(name, "--clock")) {
        o->cpu_time = !strcmp(value, "cpu");
        return o->cpu_time || !strcmp(value, "wall");
    }
    if (!strcmp(name, "--data") && o->file_count < (int)(sizeof o->files / sizeof *o->files)) {
        o->files[o->file_count++] = value;
        return true;
    }
    return false;
}

static bool parse(int argc, char **argv, options *o)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            o->json = true;
        else if (!strcmp(argv[i], "--no-peers"))
            o->peers = false;
        else if (take(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL))
            i++;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    options o = {.mib = 16, .rounds = 9, .threads = 2, .kinds = (1U << ECF8_BENCH_KINDS) - 1, .peers = true};
    if (!parse(argc, argv, &o)) {
        fputs(USAGE, stderr);
        return 1;
    }
    if (o.cpu)
        (void)setenv("ECD_CPU", ecf8_cpu_name(o.cpu), 1); // the encoder's level too
    else
        o.cpu = ecf8_cpu_best();
    if (!o.cpu || !ecf8_cpu_best()) {
        fprintf(stderr, "ecf8_bench: this CPU does not have that level\n");
        return 1;
    }
    if (o.file_count)
        return ecf8_bench_files(o.file_count, o.files, o.cpu, o.json);
    print_head(&o, argc, argv);
    bool good = true, first = true;
    for (unsigned k = 0; k < ECF8_BENCH_KINDS && good; k++)
        if (o.kinds >> k & 1) {
            good = bench_kind(&o, (ecf8_bench_kind)k, first);
            first = false;
        }
    if (o.json)
        printf("]}\n");
    return good ? 0 : 2;
}
