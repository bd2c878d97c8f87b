// The kernel for published 0.2.0 buffers, emulated: the published encoder's own groups, groups of ours that end at every
// place, and changed bits.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/ecf8_published.h"
#include "tests/cuda_emu/emu.h"

enum { PARTS = ECF8_PUBLISHED_PARTS };

// Decodes on the device; the status that it leaves.
static ecf8_status run(const ecf8_published *group, ecf8_form form, void *out)
{
    void *parts[PARTS], *device_out;
    uint32_t *status, result;
    const uint64_t bytes = group->count * (form == ECF8_FORM_BF16 ? 2 : 1);
    for (int i = 0; i < PARTS; i++) {
        assert_int_equal(cudaMalloc(&parts[i], group->parts[i].bytes), cudaSuccess);
        cudaMemcpy(parts[i], group->parts[i].data, group->parts[i].bytes, cudaMemcpyHostToDevice);
    }
    cudaMalloc(&device_out, bytes);
    cudaMalloc((void **)&status, 4);
    cudaMemset(status, 0, 4);
    const int error = ecd_ecf8_published_decode(group, (const void *const *)parts, form, device_out, status, NULL);
    if (emu_error())
        fail_msg("%s", emu_error());
    assert_int_equal(error, 0);
    cudaMemcpy(&result, status, 4, cudaMemcpyDeviceToHost);
    cudaMemcpy(out, device_out, bytes, cudaMemcpyDeviceToHost);
    for (int i = 0; i < PARTS; i++)
        cudaFree(parts[i]);
    cudaFree(device_out);
    cudaFree(status);
    return (ecf8_status)result;
}

static void check_bf16(const ecf8_published *group, const uint8_t *bytes)
{
    uint16_t *halves = malloc(group->count * 2);
    assert_int_equal(run(group, ECF8_FORM_BF16, halves), ECF8_OK);
    for (uint64_t i = 0; i < group->count; i++) {
        const unsigned m = bytes[i] & 0x7f, e = m >> 3;
        // By the definition of E4M3; NaN keeps its mantissa.
        float x = e ? (float)(8 + (m & 7)) : (float)(m & 7);
        for (int k = 0; k < 10 - (int)(e ? e : 1); k++)
            x /= 2;
        for (int k = 0; k < (int)e - 10; k++)
            x *= 2;
        uint32_t bits;
        memcpy(&bits, &x, 4);
        const uint16_t expected = (uint16_t)((m == 0x7f ? 0x7ff0 : bits >> 16) | (bytes[i] & 0x80u) << 8);
        assert_int_equal(halves[i], expected);
    }
    free(halves);
}

// ---------------------------------------------------------------- the published encoder's own groups

static uint64_t number_after(const char *header, const char *name, const char *key, unsigned which)
{
    const char *at = strstr(header, name);
    assert_non_null(at);
    at = strstr(at, key);
    assert_non_null(at);
    at = strpbrk(at + strlen(key), "0123456789abcdef");
    for (; which; which--)
        at = strchr(at, ',') + 1;
    return strtoull(at, NULL, strcmp(key, "\"expected_crc32c\":\"") == 0 ? 16 : 10);
}

static void check_file(const char *name)
{
    char path[1024], part[64];
    static uint8_t file[200000], out[100000];
    snprintf(path, sizeof path, "%s/ecf8_published/%s.safetensors", ECD_TEST_DATA, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t size = fread(file, 1, sizeof file, f);
    fclose(f);
    uint64_t header_bytes;
    memcpy(&header_bytes, file, 8);
    assert_true(header_bytes < size && header_bytes < 4096);
    char header[4096] = {0};
    memcpy(header, file + 8, header_bytes);
    ecf8_published_buffer buffers[PARTS];
    for (int i = 0; i < PARTS; i++) {
        snprintf(part, sizeof part, "\"block.%s\"", ecf8_published_part_name((ecf8_published_part)i));
        const uint64_t begin = number_after(header, part, "data_offsets\":[", 0), end = number_after(header, part, "data_offsets\":[", 1);
        assert_true(begin <= end && end <= size - 8 - header_bytes);
        buffers[i] = (ecf8_published_buffer){file + 8 + header_bytes + begin, end - begin};
    }
    ecf8_published group;
    assert_int_equal(ecf8_published_open(buffers, ECF8_PUBLISHED_THREADS, &group, NULL), ECF8_OK);
    assert_true(group.count <= sizeof out);
    for (unsigned order = 0; order < 3; order++) {
        emu_set_order((emu_order)order, 3);
        memset(out, 0, sizeof out);
        assert_int_equal(run(&group, ECF8_FORM_NATIVE, out), ECF8_OK);
        assert_int_equal(ecf8_crc32c(0, out, group.count), number_after(header, "__metadata__", "\"expected_crc32c\":\"", 0));
    }
    emu_set_order(EMU_FORWARD, 0);
    check_bf16(&group, out);
}

static void test_published_encoder(void **state)
{
    (void)state;
    check_file("all_bytes");
    check_file("wide");
}

// ---------------------------------------------------------------- ours

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

typedef struct made {
    ecf8_published_plan plan;
    uint8_t *parts[PARTS];
    ecf8_published_buffer buffers[PARTS];
} made;

static made make(const uint8_t *weights, uint64_t count)
{
    made m = {0};
    ecf8_published_packer packer;
    ecf8_published_error error;
    ecf8_published_count(&m.plan, weights, count);
    assert_int_equal(ecf8_published_decide(&m.plan, &error), ECF8_OK);
    for (int i = 0; i < PARTS; i++) {
        m.parts[i] = calloc(1, m.plan.bytes[i]);
        m.buffers[i] = (ecf8_published_buffer){m.parts[i], m.plan.bytes[i]};
    }
    ecf8_published_pack_begin(&packer, &m.plan, m.parts);
    assert_int_equal(ecf8_published_pack(&packer, weights, count, &error), ECF8_OK);
    assert_int_equal(ecf8_published_pack_end(&packer, &error), ECF8_OK);
    return m;
}

static void drop(made *m)
{
    for (int i = 0; i < PARTS; i++)
        free(m->parts[i]);
}

static void fill(uint8_t *weights, uint64_t count, bool one_exponent)
{
    uint64_t s = count * 977 + 88172645463325253U;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t r = next_random(&s);
        const unsigned fall = (unsigned)__builtin_ctzll(r >> 20 | 256);
        weights[i] = (uint8_t)((r & 0x87) | (one_exponent ? 7 : 9 - fall) << 3);
    }
}

// Streams that end at, before and behind the ends of bytes, threads and blocks.
static void test_ends(void **state)
{
    (void)state;
    static uint8_t weights[40000], out[40000];
    static const uint64_t around[] = {2, 66, 130, 514, 32764, 32768, 32800};
    for (unsigned kind = 0; kind < 2; kind++)
        for (unsigned i = 0; i < sizeof around / sizeof *around; i++)
            for (uint64_t count = around[i] > 2 ? around[i] - 2 : 2; count <= around[i] + 2; count += 2) {
                ecf8_published group;
                fill(weights, count, kind);
                made m = make(weights, count);
                assert_int_equal(ecf8_published_open(m.buffers, ECF8_PUBLISHED_THREADS, &group, NULL), ECF8_OK);
                assert_int_equal(run(&group, ECF8_FORM_NATIVE, out), ECF8_OK);
                assert_memory_equal(out, weights, count);
                drop(&m);
            }
}

// Changed bits: refused when the group is opened, reported, or what libecf8 makes of the same bytes. The format has no checksum.
static void test_damaged(void **state)
{
    (void)state;
    enum { COUNT = 1200 };
    static uint8_t weights[COUNT], out[COUNT], here[COUNT], memory[ECF8_PUBLISHED_DECODER_BYTES];
    unsigned refused = 0, reported = 0, same = 0, gaps = 0;
    fill(weights, COUNT, false);
    made m = make(weights, COUNT);
    for (int part = 0; part < PARTS; part++) {
        const uint64_t step = part == ECF8_PUBLISHED_ENCODED ? 1 : part == ECF8_PUBLISHED_LUTS ? 7 : 3;
        for (uint64_t bit = 0; bit < m.plan.bytes[part] * 8; bit += step) {
            ecf8_published group;
            ecf8_published_decoder decoder;
            m.parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (ecf8_published_open(m.buffers, ECF8_PUBLISHED_THREADS, &group, NULL)) {
                refused++;
            } else {
                assert_int_equal(ecf8_published_decoder_init(&decoder, &group, memory, sizeof memory, NULL), ECF8_OK);
                const ecf8_status cpu = ecf8_published_decode(&decoder, 0, COUNT, here, COUNT, 0, NULL);
                const ecf8_status gpu = run(&group, ECF8_FORM_NATIVE, out);
                if (gpu)
                    reported++;
                else if (!cpu) {
                    assert_memory_equal(out, here, COUNT);
                    same++;
                }
                if (cpu && part == ECF8_PUBLISHED_ENCODED) // codes that luts does not know, streams that end elsewhere
                    assert_int_not_equal(gpu, ECF8_OK);
                gaps += part == ECF8_PUBLISHED_GAPS && gpu == ECF8_ERR_PADDING;
            }
            m.parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    print_message("flips refused %u, reported %u, decoded as by libecf8 %u; of gaps %u\n", refused, reported, same, gaps);
    assert_true(refused && reported && same && gaps);
    drop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_encoder),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
