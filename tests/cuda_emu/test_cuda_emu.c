// The emulator itself: sound kernels give the right results in every order of threads, and each sin is found.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "tests/cuda_emu/emu.h"
#include "tests/cuda_emu/sins.h"

enum { WORDS = 1024 };

static void *device_copy(const void *from, size_t bytes)
{
    void *p;
    assert_int_equal(cudaMalloc(&p, bytes), cudaSuccess);
    if (from)
        assert_int_equal(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    return p;
}

static void take_back(void *to, void *device, size_t bytes)
{
    if (emu_error())
        fail_msg("%s", emu_error());
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaMemcpy(to, device, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    assert_int_equal(cudaFree(device), cudaSuccess);
}

static uint32_t hash(uint32_t i)
{
    return (i * 2654435761U) ^ (i * 40503U >> 7);
}

static void check_sums(void)
{
    static float in[WORDS], sums[4];
    for (unsigned i = 0; i < WORDS; i++)
        in[i] = (float)(hash(i) % 64);
    float *d = device_copy(in, sizeof in), *o = device_copy(NULL, sizeof sums);
    sound_sum(d, o, WORDS);
    take_back(sums, o, sizeof sums);
    cudaFree(d);
    for (unsigned b = 0; b < 4; b++) {
        float sum = 0;
        for (unsigned i = 0; i < 256; i++)
            sum += in[b * 256 + i];
        assert_true(sum == sums[b]);
    }
}

static void check_words(void)
{
    enum { EDGE = 64, RING = 4096 };
    static uint32_t in[EDGE * EDGE], out[EDGE * EDGE];
    for (unsigned i = 0; i < EDGE * EDGE; i++)
        in[i] = hash(i);
    uint32_t *d = device_copy(in, sizeof in), *o = device_copy(NULL, sizeof out);
    sound_transpose(d, o, EDGE);
    take_back(out, o, sizeof out);
    for (unsigned i = 0; i < EDGE * EDGE; i++)
        assert_int_equal(out[i % EDGE * EDGE + i / EDGE], in[i]);
    o = device_copy(NULL, sizeof out);
    sound_ring(d, o, RING);
    take_back(out, o, sizeof out);
    assert_memory_equal(out, in, sizeof in);
    o = device_copy(NULL, sizeof out);
    sound_bulk(d, o, RING);
    take_back(out, o, sizeof out);
    assert_memory_equal(out, in, sizeof in);
    o = device_copy(NULL, sizeof out);
    sound_scan(d, o, EDGE * EDGE / 32);
    take_back(out, o, sizeof out);
    for (uint32_t i = 0, sum = 0; i < EDGE * EDGE; i++) {
        sum = i % 32 ? sum + in[i] : in[i];
        assert_int_equal(out[i], sum);
    }
    static uint32_t counts[256], expected[256];
    memset(expected, 0, sizeof expected);
    for (unsigned i = 0; i < 5000; i++)
        expected[((uint8_t *)in)[i]]++;
    o = device_copy(NULL, sizeof counts);
    cudaMemset(o, 0, sizeof counts);
    sound_histogram((uint8_t *)d, o, 5000);
    take_back(counts, o, sizeof counts);
    assert_memory_equal(counts, expected, sizeof counts);
    cudaFree(d);
}

static void check_votes(void)
{
    static uint32_t out[32][8];
    uint32_t *o = device_copy(NULL, sizeof out);
    sound_votes(o);
    take_back(out, o, sizeof out);
    for (uint32_t l = 0; l < 32; l++) {
        assert_int_equal(out[l][0], 0x49249249);
        assert_int_equal(out[l][1], 1);
        assert_int_equal(out[l][2], (l / 8 * 8 + 5) * 10);
        assert_int_equal(out[l][3], l % 16 + 3 < 16 ? l + 3 : l);
        assert_int_equal(out[l][4], 496);
        assert_int_equal(out[l][5], l < 16 ? 0xaaaa : 0xffff0000);
        const uint32_t ones = (uint32_t)__builtin_popcount(l), zeros = l ? (uint32_t)__builtin_clz(l) : 32;
        assert_int_equal(out[l][6], ones | zeros << 8 | (uint32_t)__builtin_ffs((int)l) << 16);
        uint32_t reversed = 0;
        for (int i = 0; i < 32; i++)
            reversed |= (l >> i & 1) << (31 - i);
        assert_int_equal(out[l][7], 0x55116600U ^ reversed ^ (0x80000001U << 3 | l >> 29));
    }
}

static float bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// Small whole numbers: products are exact.
static void check_products(void)
{
    static uint16_t a[16][16], b[8][16];
    static float fa[16][8], fb[8][8], d[16][8];
    for (unsigned i = 0; i < 256; i++) {
        const float x = (float)(hash(i) % 15) - 7, y = (float)(hash(i + 999) % 15) - 7;
        uint32_t xb, yb;
        memcpy(&xb, &x, 4);
        memcpy(&yb, &y, 4);
        a[i / 16][i % 16] = (uint16_t)(xb >> 16);
        b[i / 16 % 8][i % 16] = (uint16_t)(yb >> 16);
        fa[i / 8 % 16][i % 8] = x;
        fb[i / 8 % 8][i % 8] = y;
    }
    void *da = device_copy(a, sizeof a), *db = device_copy(b, sizeof b), *dd = device_copy(NULL, sizeof d);
    sound_product(da, db, dd);
    take_back(d, dd, sizeof d);
    for (unsigned r = 0; r < 16; r++)
        for (unsigned c = 0; c < 8; c++) {
            float sum = 0;
            for (unsigned k = 0; k < 16; k++)
                sum += bf16(a[r][k]) * bf16(b[c][k]);
            assert_true(sum == d[r][c]);
        }
    cudaFree(da);
    cudaFree(db);
    da = device_copy(fa, sizeof fa), db = device_copy(fb, sizeof fb), dd = device_copy(NULL, sizeof d);
    sound_product_tf32(da, db, dd);
    take_back(d, dd, sizeof d);
    for (unsigned r = 0; r < 16; r++)
        for (unsigned c = 0; c < 8; c++) {
            float sum = 0;
            for (unsigned k = 0; k < 8; k++)
                sum += fa[r][k] * fb[c][k];
            assert_true(sum == d[r][c]);
        }
    cudaFree(da);
    cudaFree(db);
}

static void check_matrices(void)
{
    static uint16_t in[4][8][8];
    static uint32_t plain[32][4], transposed[32][4];
    for (unsigned i = 0; i < 256; i++)
        in[i / 64][i / 8 % 8][i % 8] = (uint16_t)hash(i);
    void *d = device_copy(in, sizeof in), *p = device_copy(NULL, sizeof plain), *t = device_copy(NULL, sizeof plain);
    sound_matrices(d, p, t);
    take_back(plain, p, sizeof plain);
    take_back(transposed, t, sizeof plain);
    cudaFree(d);
    for (unsigned l = 0; l < 32; l++)
        for (unsigned m = 0; m < 4; m++) {
            const unsigned r = l / 4, c = l % 4 * 2;
            assert_int_equal(plain[l][m], in[m][r][c] | (uint32_t)in[m][r][c + 1] << 16);
            assert_int_equal(transposed[l][m], in[m][c][r] | (uint32_t)in[m][c + 1][r] << 16);
        }
}

static void check_numbers(void)
{
    static const struct {
        float x;
        uint32_t packed;
        float power;
    } cases[] = {
        {1.0f, 0xbf803f80, 2.0f},
        {-2.5f, 0x4020c020, 0.17677669f},
        {0x1.01p0f, 0xbf803f80, 2.00542255f}, // a tie
        {0x1.03p0f, 0xbf823f82, 2.0163118f},
        {-INFINITY, 0x7f80ff80, 0.0f},
        {INFINITY, 0xff807f80, INFINITY},
        {-126.0f, 0x42fcc2fc, 0x1p-126f},
        {-127.0f, 0x42fec2fe, 0.0f},
        {0x1.fffffep127f, 0xff807f80, INFINITY},
        {NAN, 0x7fff7fff, NAN},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    static float in[32], powers[32];
    static uint32_t packed[32];
    for (unsigned i = 0; i < 32; i++)
        in[i] = cases[i % COUNT].x;
    void *d = device_copy(in, sizeof in), *p = device_copy(NULL, sizeof packed), *e = device_copy(NULL, sizeof powers);
    sound_numbers(d, p, e);
    take_back(packed, p, sizeof packed);
    take_back(powers, e, sizeof powers);
    cudaFree(d);
    for (unsigned i = 0; i < 32; i++) {
        const float power = cases[i % COUNT].power;
        assert_int_equal(packed[i], cases[i % COUNT].packed);
        if (isnan(power))
            assert_true(isnan(powers[i]));
        else
            assert_true(powers[i] == power || fabsf(powers[i] - power) < 1e-6f * power);
    }
}

static void test_sound(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 3; order++) {
        emu_set_order((emu_order)order, 7);
        check_sums();
        check_words();
        check_votes();
        check_products();
        check_matrices();
        check_numbers();
    }
    emu_set_order(EMU_FORWARD, 0);
    const emu_counts counts = emu_counted();
    assert_true(counts.launches > 0 && counts.barriers > 0 && counts.collectives > 0 && counts.accesses > 0);
    assert_int_equal(counts.allocations, 0);
}

static const char *const finding[SIN_KINDS] = {
    [SIN_READ_BEHIND_DEVICE] = "reads 4 bytes at byte 4096 of device memory of 4096 bytes",
    [SIN_READ_BEFORE_DEVICE] = "reads 4 bytes at byte -4 of device memory",
    [SIN_WRITE_BEHIND_DEVICE] = "writes 4 bytes at byte 4096 of device memory",
    [SIN_READ_FREED_OR_HOST] = "which is no device memory",
    [SIN_READ_BEHIND_DYNAMIC_SHARED] = "at byte 128 of dynamic shared memory of 128 bytes",
    [SIN_INDEX_BEHIND_STATIC_SHARED] = "an index outside its array",
    [SIN_MISALIGNED_VECTOR_LOAD] = "misaligned",
    [SIN_MISALIGNED_VECTOR_STORE] = "misaligned",
    [SIN_MISALIGNED_COPY] = "which are not multiples",
    [SIN_MISSED_BARRIER_BY_EXIT] = "a barrier that not all threads reach",
    [SIN_MISSED_BARRIER_BY_BRANCH] = "a barrier that not all threads reach",
    [SIN_DIVERGENT_SHUFFLE] = "lanes of a mask at different places",
    [SIN_LANE_NOT_IN_MASK] = "is not in its own mask",
    [SIN_SHUFFLE_FROM_ABSENT_LANE] = "reads from one that does not take part",
    [SIN_NO_BARRIER] = "a race at byte",
    [SIN_NO_WARP_BARRIER] = "a race at byte",
    [SIN_BLOCKS_RACE] = "of block 0 wrote it",
    [SIN_COPY_NOT_WAITED_FOR] = "a race at byte",
    [SIN_COPY_SEEN_WITHOUT_BARRIER] = "a race at byte",
    [SIN_MMA_IN_HALF_A_WARP] = "without the whole warp",
    [SIN_OTHER_THREADS_LOCAL] = "local memory of thread 0",
    [SIN_BULK_SIZE] = "a bulk copy of 500 bytes",
    [SIN_BULK_MISALIGNED] = "which are not multiples of 16",
    [SIN_BULK_OUTSIDE] = "at byte 528 of dynamic shared memory of 1032 bytes",
    [SIN_BULK_TOO_FEW_EXPECTED] = "bring 512 bytes to an mbarrier that expects 496",
    [SIN_BULK_TOO_MANY_EXPECTED] = "which nothing ends: 0 arrivals and 16 bytes are missing",
    [SIN_BULK_READ_BEFORE_WAIT] = "thread (5,0,0): reads byte 488 of shared memory, to which a bulk copy writes",
    [SIN_BULK_WRONG_PARITY] = "to which a bulk copy writes, without having waited",
    [SIN_BULK_OVER_READERS] = "a race at byte",
    [SIN_BULK_NOT_WAITED_FOR] = "a block ended with 1 bulk copies on the way",
    [SIN_BULK_ARRIVED_TWICE] = "more than those",
    [SIN_MBARRIER_MISSING] = "where no mbarrier was initialised",
    [SIN_MBARRIER_NOT_SEEN] = "a race at byte",
    [SIN_TOO_MUCH_SHARED] = "shared memory that cudaFuncSetAttribute did not allow",
    [SIN_TOO_MANY_THREADS] = "a block of 1056 x 1 x 1 threads",
};

static void test_sins(void **state)
{
    (void)state;
    uint32_t *host = calloc(WORDS, 4);
    for (unsigned kind = 0; kind < SIN_KINDS; kind++) {
        uint32_t *device = device_copy(NULL, WORDS * 4);
        emu_set_order(EMU_FORWARD, 0);
        sin_commit((sin_kind)kind, device, host);
        const char *found = emu_error();
        if (!found || !strstr(found, finding[kind]))
            fail_msg("sin %u: expected \"%s\", found \"%s\"", kind, finding[kind], found ? found : "nothing");
        assert_int_equal(cudaGetLastError(), cudaErrorLaunchFailure);
        emu_clear();
        assert_int_equal(cudaGetLastError(), cudaSuccess);
        cudaFree(device);
    }
    free(host);
}

// What makes races visible even where they are not looked for: another order, and garbage in shared memory.
static void test_order_matters(void **state)
{
    (void)state;
    uint32_t out[2][32];
    emu_check_races(false, false);
    for (unsigned order = 0; order < 2; order++) {
        uint32_t *device = device_copy(NULL, WORDS * 4);
        emu_set_order((emu_order)order, 0);
        sin_commit(SIN_NO_WARP_BARRIER, device, NULL);
        assert_null(emu_error());
        cudaMemcpy(out[order], device, sizeof out[order], cudaMemcpyDeviceToHost);
        cudaFree(device);
    }
    emu_check_races(true, true);
    emu_set_order(EMU_FORWARD, 0);
    assert_memory_not_equal(out[0], out[1], sizeof out[0]);
}

static void test_runtime(void **state)
{
    (void)state;
    void *p, *q;
    emu_fail_allocation(2);
    assert_int_equal(cudaMalloc(&p, 100), cudaSuccess);
    assert_int_equal(cudaMalloc(&q, 100), cudaErrorMemoryAllocation);
    assert_null(q);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    emu_fail_allocation(0);
    char host[200] = {0};
    assert_int_equal(cudaMemcpy(p, host, 101, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(p, host, 100, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    assert_int_equal(cudaMemset(p, 0, 101), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(host), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(p), cudaSuccess);
    cudaGetLastError();
    int count;
    emu_set_device_count(0);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    assert_int_equal(cudaMalloc(&p, 1), cudaErrorNoDevice);
    emu_set_device_count(1);
    assert_int_equal(cudaGetDeviceCount(&count), cudaSuccess);
    assert_int_equal(count, 1);
    cudaGetLastError();
}

static cudaStream_t new_stream(void)
{
    cudaStream_t stream;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    return stream;
}

// Nothing happens while it is captured, and all of it, in order and with the arguments of then, at each launch.
static void test_graph(void **state)
{
    (void)state;
    uint32_t got[64];
    uint32_t *words = device_copy(NULL, sizeof got), by = 3;
    cudaStream_t stream = new_stream(), beside = new_stream();
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaMemset(words, 0, sizeof got);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(beside, cudaStreamCaptureModeThreadLocal), cudaErrorIllegalState);
    sound_add(words, by, stream);
    by = 4;
    sound_add(words, by, stream);
    cudaMemcpyAsync(words + 32, words, 128, cudaMemcpyDeviceToDevice, stream);
    cudaMemsetAsync(words, 0, 4, stream);
    sound_add(words + 32, 100, beside); // another stream goes on
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    cudaGetLastError();
    cudaMemcpy(got, words, sizeof got, cudaMemcpyDeviceToHost);
    assert_int_equal(got[1], 0);
    assert_int_equal(got[33], 100);
    assert_int_equal(cudaGraphInstantiateWithFlags(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
    cudaMemcpy(got, words, sizeof got, cudaMemcpyDeviceToHost);
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], 21);
    assert_int_equal(got[32], 7);
    assert_int_equal(got[33], 21);
    cudaFree(words); // what it works in is gone
    cudaGraphLaunch(exec, stream);
    assert_non_null(strstr(emu_error(), "which is no device memory"));
    emu_clear();
    cudaGetLastError();
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(stream);
    cudaStreamDestroy(beside);
    assert_int_equal(emu_counted().objects, 0);
}

static void forbidden_call(int which, uint32_t *device, void *host, cudaStream_t stream, cudaEvent_t event)
{
    void *p;
    switch (which) {
    case 0: cudaMalloc(&p, 16); break;
    case 1: cudaFree(device); break;
    case 2: cudaMallocAsync(&p, 16, stream); break;
    case 3: cudaMallocHost(&p, 16); break;
    case 4: cudaStreamSynchronize(stream); break;
    case 5: cudaDeviceSynchronize(); break;
    case 6: cudaMemcpy(device, host, 16, cudaMemcpyHostToDevice); break;
    case 7: cudaMemcpyAsync(device, host, 16, cudaMemcpyHostToDevice, stream); break;
    case 8: cudaMemcpyAsync(host, device, 16, cudaMemcpyDeviceToHost, stream); break;
    case 9: cudaMemset(device, 0, 16); break;
    case 10: sound_add(device, 1, NULL); break; // the legacy stream
    case 11: cudaEventRecord(event, stream); break;
    case 12: cudaStreamWaitEvent(stream, event, 0); break;
    case 13: cudaEventSynchronize(event); break;
    default: assert_true(false);
    }
}

static void test_capture_sins(void **state)
{
    (void)state;
    uint32_t host[4] = {0}, *device = device_copy(NULL, 128);
    cudaStream_t stream = new_stream();
    cudaEvent_t event;
    cudaGraph_t graph;
    cudaEventCreateWithFlags(&event, cudaEventDefault);
    for (int which = 0; which < 14; which++) {
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        forbidden_call(which, device, host, stream, event);
        const cudaError_t error = cudaGetLastError();
        assert_int_equal(error, which == 10 ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
        cudaGetLastError();
    }
    assert_int_equal(cudaStreamBeginCapture(NULL, cudaStreamCaptureModeThreadLocal), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
    cudaGetLastError();
    cudaEventDestroy(event);
    cudaStreamDestroy(stream);
    cudaFree(device);
    assert_int_equal(emu_counted().objects, 0);
    assert_int_equal(emu_counted().allocations, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_capture_sins),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_sins),
        cmocka_unit_test(test_order_matters),
        cmocka_unit_test(test_runtime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
