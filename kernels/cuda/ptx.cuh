// What .cu files need beyond CUDA C++: PTX instructions as functions, and the two spellings that differ where a .cu file
// is compiled as C++ for the tests (tests/cuda_emu has the twins of everything here). Inline assembly stands nowhere else.
#ifndef ECD_KERNELS_CUDA_PTX_CUH
#define ECD_KERNELS_CUDA_PTX_CUH

#include <cuda_runtime.h>
#include <stdint.h>

enum { ECD_MBARRIER_BYTES = 8 };

#if defined(ECD_CUDA_EMU)

#define ECD_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                     \
    emu_launch_kernel(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
#define ECD_DYNAMIC_SHARED(type, name) type *name = (type *)emu_dynamic_shared()
#define ECD_HAS_BULK_COPIES emu_has_bulk_copies()

#else

// ECD_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...); a template's name with commas in parentheses.
#define ECD_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                     \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)

// The block's dynamic shared memory, aligned to 128 bytes: type *name.
#define ECD_DYNAMIC_SHARED(type, name)                                                                                 \
    extern __shared__ __align__(128) unsigned char ecd_dynamic_shared[];                                               \
    type *name = reinterpret_cast<type *>(ecd_dynamic_shared)

// What PTX takes for an address in shared memory.
static __device__ __forceinline__ uint32_t ecd_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

// The value, of which the compiler no longer knows how it came about: it stays in a register instead of being made anew.
static __device__ __forceinline__ uint32_t ecd_keep(uint32_t x)
{
    asm volatile("" : "+r"(x));
    return x;
}

// Stores to device memory, aligned to their size.
static __device__ __forceinline__ void ecd_store_32(void *to, uint32_t x)
{
    asm volatile("st.global.u32 [%0], %1;" ::"l"(to), "r"(x) : "memory");
}

static __device__ __forceinline__ void ecd_store_64(void *to, uint32_t x, uint32_t y)
{
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(x), "r"(y) : "memory");
}

// ---------------------------------------------------------------- copies that do not wait (sm_80)

// `bytes` (4, 8 or 16; both sides aligned to it) from device memory to shared memory. Of them the last
// bytes - from_device are zeros and not read.
template <int bytes>
static __device__ __forceinline__ void ecd_cp_async_at(uint32_t shared_address, const void *device, uint32_t from_device)
{
    if (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address), "l"(device), "r"(from_device)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address), "l"(device), "n"(bytes),
                     "r"(from_device)
                     : "memory");
}

template <int bytes>
static __device__ __forceinline__ void ecd_cp_async(void *shared, const void *device, uint32_t from_device = bytes)
{
    ecd_cp_async_at<bytes>(ecd_shared_address(shared), device, from_device);
}

static __device__ __forceinline__ void ecd_cp_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `left` of the thread's groups are on the way. Others see the bytes after a barrier.
template <int left> static __device__ __forceinline__ void ecd_cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

// ---------------------------------------------------------------- bulk copies (sm_90)

// Whether the device has them and is to use them (ECD_BULK_COPIES, a choice of the build). Elsewhere the functions do nothing.
#if __CUDA_ARCH__ >= 900 && defined(ECD_BULK_COPIES)
#define ECD_HAS_BULK_COPIES true
#define ECD_BULK_ASM(...) asm volatile(__VA_ARGS__)
#else
#define ECD_HAS_BULK_COPIES false
#define ECD_BULK_ASM(...)
#endif

// An mbarrier lies in ECD_MBARRIER_BYTES of shared memory, aligned to them. A phase of it ends when `count` threads have
// arrived and all the bytes that were expected in it have; then the next begins. One thread makes it; others use it after a
// barrier.
static __device__ __forceinline__ void ecd_mbarrier_init(uint32_t barrier, uint32_t count)
{
    ECD_BULK_ASM("mbarrier.init.shared::cta.b64 [%0], %1;\nfence.proxy.async.shared::cta;" ::"r"(barrier), "r"(count) : "memory");
}

// Arrives, and has the phase wait for so many bytes more (at most 2^20 - 1).
static __device__ __forceinline__ void ecd_mbarrier_expect(uint32_t barrier, uint32_t bytes)
{
    ECD_BULK_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Waits for the end of the phase of this parity (the first phase has 0), which is the present one or the one before. What
// its copies brought is there for each thread that waited.
static __device__ __forceinline__ void ecd_mbarrier_wait(uint32_t barrier, uint32_t parity)
{
    ECD_BULK_ASM("{\n.reg .pred p;\nwait:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@!p bra wait;\n}" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

// True in one lane of the whole warp, which meets here. The compiler knows that it is one.
static __device__ __forceinline__ bool ecd_elect()
{
    uint32_t one = 0;
    ECD_BULK_ASM("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\n@p mov.u32 %0, 1;\n}" : "+r"(one));
    return one;
}

// `bytes` (a multiple of 16, both sides aligned to 16) from device memory to shared memory, told to the mbarrier. One thread
// calls it, after whoever read the shared memory before has met it at a barrier.
static __device__ __forceinline__ void ecd_bulk_copy(uint32_t shared_address, const void *device, uint32_t bytes,
                                                     uint32_t barrier)
{
    ECD_BULK_ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address),
                 "l"(device), "r"(bytes), "r"(barrier)
                 : "memory");
}

// ---------------------------------------------------------------- tensor cores (sm_80)

// Fragments, with g = lane / 4, t = lane % 4 (PTX manual, "Matrix fragments"). d is added to.
// m16n8k16, 16-bit elements, two in a register, the lower k in the low half:
//   a[0] row g, k 2t..2t+1; a[1] row g+8, same k; a[2] row g, k 2t+8..; a[3] row g+8, k 2t+8..
//   b[0] column g, k 2t..2t+1; b[1] column g, k 2t+8..
//   d[0], d[1] row g, columns 2t, 2t+1; d[2], d[3] row g+8
static __device__ __forceinline__ void ecd_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// m16n8k8, TF32: a[0] row g, k t; a[1] row g+8, k t; a[2] row g, k t+4; a[3] row g+8, k t+4; b[0] column g, k t;
// b[1] column g, k t+4; d as above.
static __device__ __forceinline__ void ecd_mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// To TF32, ties away from zero.
static __device__ __forceinline__ uint32_t ecd_tf32(float x)
{
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}

// Four 8x8 matrices of 16-bit elements: lane i passes the address (16-byte aligned, shared) of row i % 8 of matrix i / 8,
// and gets of matrix m, in d[m], row lane / 4, columns 2 (lane % 4) and the next. `transposed`: rows and columns change.
template <bool transposed> static __device__ __forceinline__ void ecd_ldmatrix_x4_at(uint32_t d[4], uint32_t row)
{
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                     : "r"(row)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                     : "r"(row)
                     : "memory");
}

template <bool transposed> static __device__ __forceinline__ void ecd_ldmatrix_x4(uint32_t d[4], const void *row)
{
    ecd_ldmatrix_x4_at<transposed>(d, ecd_shared_address(row));
}

// ---------------------------------------------------------------- numbers

// Two BF16, to nearest, ties to even; any NaN becomes 0x7fff.
static __device__ __forceinline__ uint32_t ecd_pack_bf16(float low, float high)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

// 2^x to about 2^-22; subnormal x and results are zeros.
static __device__ __forceinline__ float ecd_exp2(float x)
{
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

#endif

// ---------------------------------------------------------------- PTX that the emulator reads itself (emu_ptx.c)

#define ECD_PTX_SELECT "lop3.b32 %0, %1, %2, %3, 0xe4;"
#define ECD_PTX_SCALE "fma.rn.bf16x2 %0, %1, %2, %3;"

// (a & mask) | (b & ~mask) in one instruction.
template <uint32_t mask> static __device__ __forceinline__ uint32_t ecd_select(uint32_t a, uint32_t b)
{
    uint32_t r;
#if defined(ECD_CUDA_EMU)
    uint32_t m = mask, *const operands[] = {&r, &a, &b, &m};
    emu_ptx(ECD_PTX_SELECT, operands);
#else
    asm(ECD_PTX_SELECT : "=r"(r) : "r"(a), "r"(b), "n"(mask));
#endif
    return r;
}

// Two BF16 times powers of two, exact: x * factor - 0, with which zeros keep their sign. (PTX has a multiplication from
// sm_90 on only.)
static __device__ __forceinline__ uint32_t ecd_scale_bf16x2(uint32_t x, uint32_t factor)
{
    uint32_t r, zeros = 0x80008000u;
#if defined(ECD_CUDA_EMU)
    uint32_t *const operands[] = {&r, &x, &factor, &zeros};
    emu_ptx(ECD_PTX_SCALE, operands);
#else
    asm(ECD_PTX_SCALE : "=r"(r) : "r"(x), "r"(factor), "r"(zeros));
#endif
    return r;
}

#endif
