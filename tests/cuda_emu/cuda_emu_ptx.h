// Twins of the PTX instructions in kernels/cuda/ptx.cuh. Included by cuda_emu.h.
#ifndef ECD_CUDA_EMU_PTX_H
#define ECD_CUDA_EMU_PTX_H

template <int bytes> static inline void ecd_cp_async(void *shared, const void *device, uint32_t from_device = bytes)
{
    emu_cp_async(shared, device, bytes, from_device);
}
template <int bytes> static inline void ecd_cp_async_at(uint32_t shared_address, const void *device, uint32_t from_device)
{
    emu_cp_async(emu_shared_pointer(shared_address), device, bytes, from_device);
}
static inline void ecd_cp_async_commit() { emu_cp_async_commit(); }
template <int left> static inline void ecd_cp_async_wait() { emu_cp_async_wait(left); }

static inline void ecd_mbarrier_init(uint32_t barrier, uint32_t count) { emu_mbarrier_init(barrier, count); }
static inline void ecd_mbarrier_expect(uint32_t barrier, uint32_t bytes) { emu_mbarrier_expect(barrier, bytes); }
static inline void ecd_mbarrier_wait(uint32_t barrier, uint32_t parity, EMU_SITE) { emu_mbarrier_wait(barrier, parity, file, line); }
static inline bool ecd_elect(EMU_SITE)
{
    emu_collective("elect.sync", 0xffffffff, nullptr, nullptr, false, file, line);
    return emu_lane == 0;
}
static inline void ecd_bulk_copy(uint32_t shared_address, const void *device, uint32_t bytes, uint32_t barrier)
{
    emu_bulk_copy(shared_address, device, bytes, barrier);
}

static inline uint32_t ecd_shared_address(const void *p) { return emu_shared_address(p); }
static inline uint32_t ecd_keep(uint32_t x) { return x; }
static inline void ecd_store_32(void *to, uint32_t x) { *(uint32_t *)to = x; }
static inline void ecd_store_64(void *to, uint32_t x, uint32_t y) { *(uint2 *)to = make_uint2(x, y); }
// ---------------------------------------------------------------- tensor cores

struct emu_mma {
    float *d;
    const uint32_t *a, *b;
};

static inline float emu_bf16_half(uint32_t two, unsigned which) { return emu_bits<float>(which ? two & 0xffff0000 : two << 16); }

// Products and sums in double, rounded once: the hardware's order of additions is not specified.
template <int K> EMU_PLAIN static inline const char *emu_do_mma(void *const payloads[EMU_WARP], uint32_t lanes)
{
    if (lanes != 0xffffffff)
        return "mma.sync without the whole warp";
    float a[16][K], b[K][8];
    for (unsigned l = 0; l < EMU_WARP; l++) {
        const emu_mma *m = (const emu_mma *)payloads[l];
        const unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < 4; i++)
            for (unsigned j = 0; j < 2; j++)
                if (K == 16)
                    a[g + i % 2 * 8][t * 2 + j + i / 2 * 8] = emu_bf16_half(m->a[i], j);
                else
                    a[g + i % 2 * 8][t + i / 2 * 4] = emu_bits<float>(m->a[i] & 0xffffe000);
        for (unsigned i = 0; i < 2; i++)
            for (unsigned j = 0; j < 2; j++)
                if (K == 16)
                    b[t * 2 + j + i * 8][g] = emu_bf16_half(m->b[i], j);
                else
                    b[t + i * 4][g] = emu_bits<float>(m->b[i] & 0xffffe000);
    }
    for (unsigned l = 0; l < EMU_WARP; l++) {
        const emu_mma *m = (const emu_mma *)payloads[l];
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            double sum = m->d[i];
            for (unsigned k = 0; k < K; k++)
                sum += (double)a[row][k] * b[k][column];
            m->d[i] = (float)sum;
        }
    }
    return nullptr;
}
EMU_PLAIN static inline void ecd_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], EMU_SITE)
{
    emu_mma m = {d, a, b};
    emu_collective("mma.sync", 0xffffffff, emu_do_mma<16>, &m, false, file, line);
}
EMU_PLAIN static inline void ecd_mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2], EMU_SITE)
{
    emu_mma m = {d, a, b};
    emu_collective("mma.sync", 0xffffffff, emu_do_mma<8>, &m, false, file, line);
}

static inline uint32_t ecd_tf32(float x)
{
    const uint32_t bits = emu_bits<uint32_t>(x);
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & 0xffffe000;
}

struct emu_matrices {
    const uint16_t *row;
    uint32_t *d;
};
template <bool transposed> EMU_PLAIN static inline const char *emu_do_ldmatrix(void *const payloads[EMU_WARP], uint32_t lanes)
{
    if (lanes != 0xffffffff)
        return "ldmatrix without the whole warp";
    uint16_t at[4][8][8];
    for (unsigned l = 0; l < EMU_WARP; l++)
        std::memcpy(at[l / 8][l % 8], ((const emu_matrices *)payloads[l])->row, 16);
    for (unsigned l = 0; l < EMU_WARP; l++)
        for (unsigned m = 0; m < 4; m++) {
            const unsigned r = l / 4, c = l % 4 * 2;
            ((emu_matrices *)payloads[l])->d[m] = transposed ? at[m][c][r] | (uint32_t)at[m][c + 1][r] << 16
                                                             : at[m][r][c] | (uint32_t)at[m][r][c + 1] << 16;
        }
    return nullptr;
}
template <bool transposed> EMU_PLAIN static inline void ecd_ldmatrix_x4(uint32_t d[4], const void *row, EMU_SITE)
{
    if (emu_space_of(row) != EMU_SHARED)
        emu_fail("ldmatrix from %p, which is no shared memory", row);
    emu_access(row, 16, EMU_READ | EMU_ALIGNED);
    emu_matrices m = {(const uint16_t *)row, d};
    emu_collective("ldmatrix", 0xffffffff, emu_do_ldmatrix<transposed>, &m, false, file, line);
}
template <bool transposed> EMU_PLAIN static inline void ecd_ldmatrix_x4_at(uint32_t d[4], uint32_t row, EMU_SITE)
{
    ecd_ldmatrix_x4<transposed>(d, emu_shared_pointer(row), file, line);
}

static inline uint32_t emu_bf16(float x)
{
    const uint32_t bits = emu_bits<uint32_t>(x);
    return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline uint32_t ecd_pack_bf16(float low, float high) { return emu_bf16(low) | emu_bf16(high) << 16; }

static inline float ecd_exp2(float x)
{
    const float r = (float)std::exp2((double)x);
    return r < 1.17549435e-38f ? 0.0f : r;
}

#endif
