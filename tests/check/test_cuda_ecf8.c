// The decoding kernels, emulated (tests/cuda_emu): every container gives the bytes that libecf8 gives, or is refused, and
// nothing is read or written outside.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/ecf8_decode.h"
#include "tests/cuda_emu/emu.h"
#include "tests/unit/ecf8_make.h"

typedef struct device {
    void *blob, *image, *out, *stops;
    uint32_t *status;
    uint64_t out_bytes;
    ecd_ecf8_plan plan;
} device;

static void *to_device(const void *from, uint64_t bytes)
{
    void *p;
    assert_int_equal(cudaMalloc(&p, bytes), cudaSuccess);
    assert_int_equal(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    return p;
}

static void drop(device *d)
{
    cudaFree(d->blob);
    cudaFree(d->image);
    cudaFree(d->out);
    cudaFree(d->stops);
    cudaFree(d->status);
    free(d->plan.image);
}

static size_t bytes_of(const ecf8_view *v, ecf8_form form)
{
    return form == ECF8_FORM_BF16 ? 2 : ecf8_dtype_bytes(v->dtype);
}

// Puts a blob on the device with a plan for its tiles first .. first + count - 1. `out` has exactly their weights.
static device prepare_pieces(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count, uint32_t piece_groups)
{
    device d = {.blob = to_device(v->blob, v->blob_bytes)};
    ecd_ecf8_part part = {v, d.blob, first, count, 0, false, 0, piece_groups, NULL};
    if (ecd_ecf8_stops_bytes(&part))
        assert_int_equal(cudaMalloc(&d.stops, ecd_ecf8_stops_bytes(&part)), cudaSuccess);
    part.stops = d.stops;
    const size_t bytes = ecd_ecf8_plan_bytes(&part, 1);
    ecd_diag diag = {0};
    void *memory = aligned_alloc(16, (bytes + 15) / 16 * 16);
    assert_int_equal(ecd_ecf8_plan_make(&part, 1, form, memory, bytes, &d.plan, &diag), ECD_OK);
    d.image = to_device(d.plan.image, d.plan.image_bytes);
    const uint64_t from = first * ecd_ecf8_tile_weights(v), to = (first + count) * ecd_ecf8_tile_weights(v);
    d.out_bytes = ((to < v->count ? to : v->count) - from) * bytes_of(v, form);
    assert_int_equal(cudaMalloc(&d.out, d.out_bytes), cudaSuccess);
    assert_int_equal(cudaMalloc((void **)&d.status, d.plan.status_count * 4), cudaSuccess);
    return d;
}

static device prepare(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count)
{
    return prepare_pieces(v, form, first, count, 0);
}

// Decodes, `by_pieces` or whole tiles; the first fault, with `out` (host) filled.
static ecf8_status run_by(device *d, bool by_pieces, bool checksums, void *out)
{
    uint32_t *status = malloc(d->plan.status_count * 4), part = 0;
    uint64_t tile = 0;
    cudaMemset(d->status, 0, 4);
    const int error = by_pieces ? ecd_ecf8_decode_pieces(&d->plan, d->image, d->out, d->status, NULL)
                                : ecd_ecf8_decode(&d->plan, d->image, d->out, d->status, checksums, NULL);
    if (emu_error())
        fail_msg("%s", emu_error());
    assert_int_equal(error, 0);
    cudaMemcpy(status, d->status, d->plan.status_count * 4, cudaMemcpyDeviceToHost);
    if (out)
        cudaMemcpy(out, d->out, d->out_bytes, cudaMemcpyDeviceToHost);
    const ecf8_status fault = ecd_ecf8_first_fault(&d->plan, status, &part, &tile);
    assert_int_equal(status[0] != 0, fault != ECF8_OK);
    free(status);
    return fault;
}

static ecf8_status run(device *d, bool checksums, void *out)
{
    return run_by(d, false, checksums, out);
}

static void decode_here(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count, void *out, uint64_t bytes)
{
    static uint8_t tables[ECF8_DECODER_MAX_BYTES];
    ecf8_decoder decoder;
    // BF16 stays as it is on the device; libecf8 makes signalling NaNs quiet.
    const ecf8_output output = {v->dtype == ECF8_BF16 ? ECF8_FORM_NATIVE : form, NULL, 0};
    assert_int_equal(ecf8_decoder_init(&decoder, v, tables, sizeof tables, ECF8_CPU_SCALAR, NULL), ECF8_OK);
    assert_int_equal(ecf8_decode_weights(&decoder, first, count, &output, out, bytes, ECF8_VERIFY, NULL), ECF8_OK);
}

static void compare(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count, bool checksums)
{
    device d = prepare(v, form, first, count);
    if (d.out_bytes) {
        uint8_t *here = malloc(d.out_bytes), *there = malloc(d.out_bytes);
        decode_here(v, form, first * ecd_ecf8_tile_weights(v), d.out_bytes / bytes_of(v, form), here, d.out_bytes);
        assert_int_equal(run(&d, checksums, there), ECF8_OK);
        assert_memory_equal(here, there, d.out_bytes);
        free(here);
        free(there);
    }
    drop(&d);
}

// Whole, with and without checksums, and in BF16; then a tile in the middle and the last one.
static void compare_all(const ecf8_view *v)
{
    const uint64_t tiles = ecd_ecf8_tile_count(v);
    compare(v, ECF8_FORM_NATIVE, 0, tiles, false);
    compare(v, ECF8_FORM_NATIVE, 0, tiles, true);
    compare(v, ECF8_FORM_BF16, 0, tiles, false);
    if (tiles > 1) {
        compare(v, ECF8_FORM_BF16, tiles / 2, 1, false);
        compare(v, ECF8_FORM_NATIVE, tiles - 1, 1, true);
    }
}

static uint8_t *read_file(const char *path, uint64_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *bytes = (uint64_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*bytes + 1);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

// Every container in tests/data/ecf8, the bad ones of which ecf8_open refuses.
static void test_golden(void **state)
{
    (void)state;
    static const char folder[] = ECD_TEST_DATA "/ecf8";
    DIR *dir = opendir(folder);
    unsigned good = 0, bad = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[1024];
        uint64_t bytes;
        ecf8_view v;
        if (!strstr(e->d_name, ".ecf8"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        uint8_t *blob = read_file(path, &bytes);
        if (ecf8_open(blob, bytes, &v, NULL) == ECF8_OK) {
            compare_all(&v);
            good++;
        } else {
            assert_non_null(strstr(e->d_name, "bad"));
            bad++;
        }
        free(blob);
    }
    closedir(dir);
    assert_true(good >= 7 && bad >= 2);
}

// Every dtype, mode and shape of the end, in the three orders of threads, words by bulk copies and by cp.async.
static void test_made(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 3, 127, 128, 130, 1000, 2048, 5001, 20000};
    static const uint32_t tiles[] = {128, 1024, 4096, 16384};
    unsigned modes[4] = {0};
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (unsigned kind = 0; kind < ECF8_MADE_KINDS; kind++)
            for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
                const ecf8_params params = {dtype, 0, 0, (ecf8_density)(i % 2), tiles[(i + kind) % 4]};
                uint8_t *weights = ecf8_made_weights(counts[i], dtype, (ecf8_made)kind, i);
                uint64_t bytes = 0;
                uint8_t *blob = ecf8_made_blob(weights, counts[i], &params, &bytes);
                ecf8_view v;
                assert_non_null(blob);
                assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
                modes[v.mode]++;
                emu_set_order((emu_order)(i % 3), 5);
                emu_set_bulk_copies((i + kind) % 2);
                compare_all(&v);
                free(blob);
                free(weights);
            }
    emu_set_order(EMU_FORWARD, 0);
    emu_set_bulk_copies(true);
    for (unsigned mode = 0; mode < 4; mode++)
        assert_true(modes[mode] > 0);
}

// Every byte, NaNs above all, among weights that are coded in pairs and in tiles long enough for the main loop.
static void test_all_bytes(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    const ecf8_params params = {ECF8_E4M3, 0, 0, ECF8_DENSITY_FAST, 4096};
    uint64_t bytes;
    uint8_t *weights = ecf8_made_weights(COUNT, ECF8_E4M3, ECF8_MADE_BELL, 4);
    for (unsigned i = 0; i < COUNT; i += 29)
        weights[i] = i % 2 ? (uint8_t)(i / 29) : i % 4 ? 0x7f : 0xff;
    uint8_t *blob = ecf8_made_blob(weights, COUNT, &params, &bytes);
    ecf8_view v;
    assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
    assert_int_equal(v.mode, ECF8_MODE_PAIRS);
    compare_all(&v);
    free(blob);
    free(weights);
}

// By pieces of 8 groups and of more, once a launch with checksums noted the stops: the same weights. Stops that lie (here: none were
// noted, the memory holds anything) decode to anything, but nothing is touched outside. Returns how many pieces there were.
static uint32_t compare_pieces(const ecf8_view *v, uint32_t piece_groups)
{
    const uint64_t tiles = ecd_ecf8_tile_count(v), bytes = v->count * bytes_of(v, ECF8_FORM_NATIVE);
    device d = prepare_pieces(v, ECF8_FORM_NATIVE, 0, tiles, piece_groups);
    uint8_t *here = malloc(bytes), *there = malloc(bytes);
    decode_here(v, ECF8_FORM_NATIVE, 0, v->count, here, bytes);
    if (d.stops) {
        run_by(&d, true, false, NULL);
        assert_int_equal(run(&d, true, NULL), ECF8_OK);
        cudaMemset(d.out, 0xee, d.out_bytes);
        assert_int_equal(run_by(&d, true, false, there), ECF8_OK);
        assert_memory_equal(here, there, bytes);
    }
    const uint32_t blocks = d.plan.piece_block_count;
    assert_int_equal(blocks != 0, d.stops != NULL);
    drop(&d);
    free(here);
    free(there);
    return blocks;
}

// To BF16 with the stops that the launch to the own type noted.
static void compare_pieces_bf16(const ecf8_view *v, uint32_t piece_groups)
{
    const uint64_t tiles = ecd_ecf8_tile_count(v);
    device noted = prepare_pieces(v, ECF8_FORM_NATIVE, 0, tiles, piece_groups);
    device d = prepare_pieces(v, ECF8_FORM_BF16, 0, tiles, piece_groups);
    uint8_t *here = malloc(v->count * 2), *there = malloc(v->count * 2);
    decode_here(v, ECF8_FORM_BF16, 0, v->count, here, v->count * 2);
    assert_int_equal(run(&noted, true, NULL), ECF8_OK);
    ecd_ecf8_part part = {.view = v, .tile_count = tiles, .piece_groups = piece_groups};
    cudaMemcpy(d.stops, noted.stops, ecd_ecf8_stops_bytes(&part), cudaMemcpyDeviceToDevice);
    assert_int_equal(run_by(&d, true, false, there), ECF8_OK);
    assert_memory_equal(here, there, v->count * 2);
    drop(&noted);
    drop(&d);
    free(here);
    free(there);
}

static void test_pieces(void **state)
{
    (void)state;
    static const uint64_t counts[] = {2048, 5001, 20000, 80000};
    unsigned cut = 0, patched = 0;
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (unsigned i = 0; i < 8; i++) {
            const ecf8_params params = {dtype, 0, 0, (ecf8_density)(i % 2), i % 3 ? 16384 : 4096};
            const uint64_t count = counts[i % 4];
            uint8_t *weights = ecf8_made_weights(count, dtype, i % 2 ? ECF8_MADE_FEW : ECF8_MADE_BELL, i);
            uint64_t bytes = 0;
            uint8_t *blob = ecf8_made_blob(weights, count, &params, &bytes);
            ecf8_view v;
            assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
            emu_set_order((emu_order)(i % 3), 5);
            emu_set_bulk_copies(i / 2 % 2);
            const uint32_t blocks = compare_pieces(&v, i % 4 ? 8 : 40);
            cut += blocks > 0;
            patched += blocks && v.patch_count;
            if (blocks)
                compare_pieces_bf16(&v, 16);
            free(blob);
            free(weights);
        }
    emu_set_order(EMU_FORWARD, 0);
    emu_set_bulk_copies(true);
    assert_true(cut >= 16 && patched >= 2);
}

// How many groups: none where nothing is coded or tiles are many, fewer where the device would have warps without work.
static void test_piece_sizes(void **state)
{
    (void)state;
    ecf8_view v = {.mode = ECF8_MODE_PAIRS, .tile_weights = 65536};
    assert_int_equal(ecd_ecf8_piece_groups(&v, 5126, 396), 128);
    assert_int_equal(ecd_ecf8_piece_groups(&v, 443, 396), 64);
    assert_int_equal(ecd_ecf8_piece_groups(&v, 20000, 396), 0);
    v.tile_weights = 8192;
    assert_int_equal(ecd_ecf8_piece_groups(&v, 443, 396), 0);
    v = (ecf8_view){.mode = ECF8_MODE_RAW, .tile_weights = 65536};
    assert_int_equal(ecd_ecf8_piece_groups(&v, 443, 396), 0);
}

// Chunks, each a part of its own of one plan, one after the other into the same small piece of memory.
static void decode_in_turn(const ecf8_view *v, ecf8_form form, uint64_t most_bytes)
{
    enum { PARTS = 16 };
    ecd_ecf8_part parts[PARTS];
    device d = {.blob = to_device(v->blob, v->blob_bytes)};
    uint32_t count = 0;
    ecd_diag diag = {0};
    for (uint64_t tile = 0, n; (n = ecd_ecf8_tiles_within(v, form, tile, most_bytes)) != 0; tile += n)
        parts[count++] = (ecd_ecf8_part){v, d.blob, tile, n, 0, true, 1000, 0, NULL};
    const size_t bytes = ecd_ecf8_plan_bytes(parts, count);
    void *memory = aligned_alloc(16, (bytes + 15) / 16 * 16);
    assert_int_equal(ecd_ecf8_plan_make(parts, count, form, memory, bytes, &d.plan, &diag), ECD_OK);
    assert_int_equal(d.plan.block_count, v->tile_count); // a tile a block, there are so few
    d.image = to_device(d.plan.image, d.plan.image_bytes);
    assert_int_equal(cudaMalloc((void **)&d.status, d.plan.status_count * 4), cudaSuccess);
    cudaMemset(d.status, 0, d.plan.status_count * 4);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t first = parts[i].first_tile * v->tile_weights, end = first + parts[i].tile_count * v->tile_weights;
        const uint64_t weights = (end < v->count ? end : v->count) - first;
        const size_t size = weights * bytes_of(v, form);
        uint8_t *here = malloc(size), *there = malloc(size);
        assert_int_equal(cudaMalloc(&d.out, size), cudaSuccess);
        decode_here(v, form, first, weights, here, size);
        assert_int_equal(ecd_ecf8_decode_part(&d.plan, d.image, i, d.out, d.status, form == ECF8_FORM_NATIVE, NULL), 0);
        assert_int_equal(cudaMemcpy(there, d.out, size, cudaMemcpyDeviceToHost), cudaSuccess);
        assert_memory_equal(here, there, size);
        cudaFree(d.out);
        free(here);
        free(there);
    }
    uint32_t faults = 1;
    cudaMemcpy(&faults, d.status, 4, cudaMemcpyDeviceToHost);
    assert_int_equal(faults, 0);
    d.out = NULL;
    drop(&d);
}

// A tensor in chunks, each a plan of its own, then as parts of one plan.
static void test_chunks(void **state)
{
    (void)state;
    enum { COUNT = 30000, MOST = 8192 };
    const ecf8_params params = {ECF8_E4M3, 0, 0, ECF8_DENSITY_FAST, 1024};
    uint64_t bytes, chunks = 0;
    uint8_t *weights = ecf8_made_weights(COUNT, ECF8_E4M3, ECF8_MADE_BELL, 2);
    uint8_t *blob = ecf8_made_blob(weights, COUNT, &params, &bytes);
    ecf8_view v;
    assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
    for (uint64_t tile = 0, n; (n = ecd_ecf8_tiles_within(&v, ECF8_FORM_BF16, tile, MOST)) != 0; tile += n, chunks++) {
        assert_true(n * 1024 * 2 <= MOST);
        compare(&v, ECF8_FORM_BF16, tile, n, false);
    }
    assert_int_equal(chunks, (COUNT + 4095) / 4096);
    decode_in_turn(&v, ECF8_FORM_BF16, MOST);
    decode_in_turn(&v, ECF8_FORM_NATIVE, MOST);
    assert_int_equal(ecd_ecf8_tiles_within(&v, ECF8_FORM_BF16, 0, 1), 1);
    assert_int_equal(ecd_ecf8_tiles_within(&v, ECF8_FORM_NATIVE, v.tile_count - 1, MOST), 1);
    assert_int_equal(ecd_ecf8_tiles_within(&v, ECF8_FORM_NATIVE, v.tile_count, MOST), 0);
    free(blob);
    free(weights);
}

// ---------------------------------------------------------------- damage

typedef struct found {
    unsigned refused, reported, harmless;
} found;

// A changed blob: refused when it is opened, reported by the device, or decoded to the same weights. Without checksums anything
// may come out, but nothing is touched outside (run() fails on that). `sealed`: as if the change had been made by who knows
// the format, with the metadata's checksum made good. `all`: without checksums and to BF16 too.
static void judge(uint8_t *blob, uint64_t bytes, const uint8_t *good, uint64_t good_bytes, bool sealed, bool all, found *f)
{
    ecf8_view v;
    ecf8_status status = ecf8_open(blob, bytes, &v, NULL);
    uint8_t crc[4];
    memcpy(crc, blob + ECF8_AT_META_CRC, 4);
    // Where the metadata ends follows from what it says: the end with which the checksum is right.
    for (uint64_t end = ECF8_HEADER_BYTES; sealed && status == ECF8_ERR_META_CHECKSUM && end <= bytes; end += ECF8_ALIGN) {
        ecf8_store32(blob + ECF8_AT_META_CRC, ecf8_meta_crc(blob, end));
        status = ecf8_open(blob, bytes, &v, NULL);
    }
    if (status || v.count > 100000) {
        f->refused++;
    } else {
        const uint64_t tiles = ecd_ecf8_tile_count(&v);
        device d = prepare(&v, ECF8_FORM_NATIVE, 0, tiles);
        uint8_t *out = malloc(d.out_bytes + 1);
        const bool same = d.out_bytes == good_bytes;
        if (run(&d, true, out))
            f->reported++;
        else if (same && memcmp(out, good, good_bytes) == 0)
            f->harmless++;
        else
            assert_true(sealed); // the checksums of tiles may be among what was changed
        free(out);
        if (all)
            run(&d, false, NULL);
        drop(&d);
        if (all) {
            d = prepare(&v, ECF8_FORM_BF16, 0, tiles);
            run(&d, false, NULL);
            drop(&d);
        }
    }
    memcpy(blob + ECF8_AT_META_CRC, crc, 4);
}

static void damage(uint8_t *blob, uint64_t bytes)
{
    ecf8_view v;
    found flips = {0}, sealed = {0}, cuts = {0};
    assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
    const uint64_t good_bytes = v.count * ecf8_dtype_bytes(v.dtype), meta_end = (uint64_t)(v.plane ? v.plane : v.words) - (uint64_t)blob;
    uint8_t *good = malloc(good_bytes);
    decode_here(&v, ECF8_FORM_NATIVE, 0, v.count, good, good_bytes);
    for (uint64_t bit = 0; bit < bytes * 8; bit++) {
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        emu_set_bulk_copies(bit / 8 % 2);
        judge(blob, bytes, good, good_bytes, false, bit % 11 == 0, &flips);
        if (bit / 8 < meta_end)
            judge(blob, bytes, good, good_bytes, true, true, &sealed);
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    emu_set_bulk_copies(true);
    for (uint64_t cut = 0; cut < bytes; cut++)
        judge(blob, cut < ECF8_HEADER_BYTES ? 0 : cut, good, good_bytes, false, true, &cuts);
    print_message("%llu bytes: flips refused %u, reported %u, harmless %u; resealed %u, %u, %u; cuts refused %u\n",
                  (unsigned long long)bytes, flips.refused, flips.reported, flips.harmless, sealed.refused, sealed.reported,
                  sealed.harmless, cuts.refused);
    assert_int_equal(flips.refused + flips.reported + flips.harmless, bytes * 8);
    assert_int_equal(flips.harmless, 0);
    assert_int_equal(cuts.refused, bytes);
    assert_true(flips.reported > 0 && sealed.reported > 0);
    free(good);
}

static void test_damaged(void **state)
{
    (void)state;
    uint64_t bytes;
    uint8_t *blob = read_file(ECD_TEST_DATA "/ecf8/example.ecf8", &bytes);
    damage(blob, bytes);
    free(blob);
    static const struct {
        ecf8_dtype dtype;
        ecf8_made kind;
        uint64_t count;
        ecf8_mode mode;
    } cases[] = {
        {ECF8_E4M3, ECF8_MADE_NOISE, 300, ECF8_MODE_RAW},
        {ECF8_E5M2, ECF8_MADE_TWO, 1300, ECF8_MODE_SINGLES},
        {ECF8_BF16, ECF8_MADE_TWO, 700, ECF8_MODE_SINGLES},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ecf8_params params = {cases[i].dtype, 0, 0, ECF8_DENSITY_FAST, 512};
        uint8_t *weights = ecf8_made_weights(cases[i].count, cases[i].dtype, cases[i].kind, 3);
        ecf8_view v;
        blob = ecf8_made_blob(weights, cases[i].count, &params, &bytes);
        assert_non_null(blob);
        assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
        assert_int_equal(v.mode, cases[i].mode);
        damage(blob, bytes);
        free(blob);
        free(weights);
    }
}

// Patches on a symbol that is not code 0's are reported; those that the encoder made are right (test_made has rare weights
// too, but not so many that patches pay).
static void test_patches(void **state)
{
    (void)state;
    enum { COUNT = 80000 };
    unsigned patched = 0;
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++) {
        const ecf8_params params = {dtype, 0, 0, ECF8_DENSITY_FAST, 16384};
        uint64_t bytes;
        uint8_t *weights = ecf8_made_weights(COUNT, dtype, ECF8_MADE_FEW, 11);
        uint8_t *blob = ecf8_made_blob(weights, COUNT, &params, &bytes);
        ecf8_view v;
        assert_non_null(blob);
        assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
        patched += v.patch_count > 0;
        compare_all(&v);
        if (v.patch_count) { // a place moved on by one
            uint8_t *place = blob + (v.patches - blob);
            ecf8_store16(place, (uint16_t)(ecf8_load16(place) + 1));
            ecf8_store32(blob + ECF8_AT_META_CRC, ecf8_meta_crc(blob, (uint64_t)((v.plane ? v.plane : v.words) - blob)));
            if (ecf8_open(blob, bytes, &v, NULL) == ECF8_OK) {
                device d = prepare(&v, ECF8_FORM_BF16, 0, v.tile_count);
                const ecf8_status fault = run(&d, false, NULL);
                assert_true(fault == ECF8_ERR_PATCH || fault == ECF8_OK);
                drop(&d);
                d = prepare(&v, ECF8_FORM_NATIVE, 0, v.tile_count);
                assert_int_not_equal(run(&d, true, NULL), ECF8_OK);
                drop(&d);
            }
        }
        free(blob);
        free(weights);
    }
    assert_true(patched >= 2);
}

// Many tensors of all kinds in one plan, each at its own place: one launch.
static void check_one_plan(ecf8_form form)
{
    enum { TENSORS = 10 };
    ecd_ecf8_part parts[TENSORS];
    ecf8_view views[TENSORS];
    uint8_t *blobs[TENSORS], *here[TENSORS];
    uint64_t bytes[TENSORS], out_bytes = 0;
    ecd_diag diag = {0};
    for (unsigned i = 0; i < TENSORS; i++) {
        const ecf8_dtype dtype = (ecf8_dtype)(1 + i % 4);
        const uint64_t count = 700 + 900 * i;
        const ecf8_params params = {dtype, 0, 0, ECF8_DENSITY_FAST, i % 2 ? 128 : 1024};
        uint8_t *weights = ecf8_made_weights(count, dtype, (ecf8_made)(i % ECF8_MADE_KINDS), i);
        blobs[i] = ecf8_made_blob(weights, count, &params, &bytes[i]);
        assert_int_equal(ecf8_open(blobs[i], bytes[i], &views[i], NULL), ECF8_OK);
        here[i] = malloc(count * 2);
        decode_here(&views[i], form, 0, count, here[i], count * bytes_of(&views[i], form));
        parts[i] = (ecd_ecf8_part){&views[i], to_device(blobs[i], bytes[i]), 0, ecd_ecf8_tile_count(&views[i]), out_bytes,
                                   false, 0, 0, NULL};
        out_bytes += (count * 2 + 15) / 16 * 16;
        free(weights);
    }
    device d = {0};
    const size_t need = ecd_ecf8_plan_bytes(parts, TENSORS);
    void *memory = aligned_alloc(16, (need + 15) / 16 * 16);
    assert_int_equal(ecd_ecf8_plan_make(parts, TENSORS, form, memory, need - 1, &d.plan, &diag), ECD_USAGE);
    assert_int_equal(ecd_ecf8_plan_make(parts, TENSORS, ECF8_FORM_F32, memory, need, &d.plan, &diag), ECD_USAGE);
    assert_int_equal(ecd_ecf8_plan_make(parts, TENSORS, form, memory, need, &d.plan, &diag), ECD_OK);
    d.image = to_device(d.plan.image, d.plan.image_bytes);
    d.out_bytes = out_bytes;
    cudaMalloc(&d.out, out_bytes);
    cudaMalloc((void **)&d.status, d.plan.status_count * 4);
    uint8_t *there = malloc(out_bytes);
    for (unsigned run_of = 0; run_of < ECD_ECF8_RUNS; run_of++)
        assert_true(d.plan.run_blocks[run_of] > 0 || (run_of == ECD_ECF8_RUN_BYTES && form == ECF8_FORM_BF16));
    for (int checksums = 0; checksums <= (form == ECF8_FORM_NATIVE); checksums++) {
        const uint64_t launches = emu_counted().launches;
        assert_int_equal(run(&d, checksums, there), ECF8_OK);
        assert_int_equal(emu_counted().launches, launches + 1);
        for (unsigned i = 0; i < TENSORS; i++)
            assert_memory_equal(here[i], there + parts[i].out_bytes_at, views[i].count * bytes_of(&views[i], form));
    }
    for (unsigned i = 0; i < TENSORS; i++) {
        cudaFree((void *)(uintptr_t)parts[i].device_blob);
        free(blobs[i]);
        free(here[i]);
    }
    parts[0].first_tile = 1000;
    assert_int_equal(ecd_ecf8_plan_make(parts, 1, form, memory, need, &d.plan, &diag), ECD_USAGE);
    free(there);
    d.plan.image = memory;
    drop(&d);
}

static void test_one_plan(void **state)
{
    (void)state;
    check_one_plan(ECF8_FORM_NATIVE);
    check_one_plan(ECF8_FORM_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_made),
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_one_plan),
        cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_piece_sizes),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
