// The device side of the emulator: with this header a .cu file compiles as C++. See README.md.
#ifndef ECD_CUDA_EMU_DEVICE_H
#define ECD_CUDA_EMU_DEVICE_H

#include <tuple>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>

#include "tests/cuda_emu/cuda_emu_types.h"
#include "tests/cuda_emu/emu.h"

#define ECD_CUDA_EMU 1
#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// One block runs at a time, so that its shared variables can be static. Thread-local ones lie together, where they can be
// found: filled with garbage before each block, and checked.
#define __shared__ static thread_local

#define threadIdx emu_thread_idx
#define blockIdx emu_block_idx
#define blockDim emu_block_dim
#define gridDim emu_grid_dim
static const int warpSize = EMU_WARP;

// For what the emulator itself does in a kernel's name.
#define EMU_PLAIN __attribute__((no_sanitize("thread")))
#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// ---------------------------------------------------------------- launching

template <class... P> struct emu_call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
    template <std::size_t... I> EMU_PLAIN void spread(std::index_sequence<I...>) { kernel(std::get<I>(arguments)...); }
    EMU_PLAIN static void body(void *self) { ((emu_call *)self)->spread(std::index_sequence_for<P...>()); }
};

template <class... P, class... A>
static inline void emu_launch_kernel(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                                     cudaStream_t stream, A &&...arguments)
{
    emu_call<P...> call = {kernel, std::tuple<P...>(std::forward<A>(arguments)...)};
    emu_launch_on(stream, name, (const void *)kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared_bytes,
                  emu_call<P...>::body, &call, sizeof call);
}

// With the parameters' types known, functions whose only name is a template's can be had too.
template <class... P> static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute a, int value)
{
    return cudaFuncSetAttribute((const void *)kernel, a, value);
}
template <class T> static inline cudaError_t cudaMalloc(T **out, size_t bytes) { return cudaMalloc((void **)out, bytes); }

// ---------------------------------------------------------------- barriers and collectives

static inline void __syncthreads(EMU_SITE) { emu_barrier(0, nullptr, nullptr, file, line); }
static inline int __syncthreads_count(int p, EMU_SITE) { return emu_barrier(p != 0, nullptr, nullptr, file, line); }
static inline int __syncthreads_or(int p, EMU_SITE)
{
    int any, all;
    emu_barrier(p, &any, &all, file, line);
    return any;
}
static inline int __syncthreads_and(int p, EMU_SITE)
{
    int any, all;
    emu_barrier(p, &any, &all, file, line);
    return all;
}
static inline void __syncwarp(unsigned mask = 0xffffffff, EMU_SITE)
{
    emu_collective("__syncwarp", mask, nullptr, nullptr, true, file, line);
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

struct emu_exchange {
    uint64_t in, out;
    unsigned source; // a lane
};

EMU_PLAIN static inline const char *emu_do_shuffle(void *const payloads[EMU_WARP], uint32_t lanes)
{
    for (unsigned l = 0; l < EMU_WARP; l++) {
        if (!(lanes >> l & 1))
            continue;
        emu_exchange *e = (emu_exchange *)payloads[l];
        if (!(lanes >> e->source & 1))
            return "a lane reads from one that does not take part";
        e->out = ((emu_exchange *)payloads[e->source])->in;
    }
    return nullptr;
}

template <class T>
EMU_PLAIN static inline T emu_shuffle(const char *what, unsigned mask, T value, unsigned source, const char *file, int line)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "what a shuffle takes");
    emu_exchange e = {0, 0, source};
    std::memcpy(&e.in, &value, sizeof value);
    emu_collective(what, mask, emu_do_shuffle, &e, false, file, line);
    std::memcpy(&value, &e.out, sizeof value);
    return value;
}

template <class T> static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMU_SITE)
{
    const unsigned w = (unsigned)width, base = emu_lane & ~(w - 1);
    return emu_shuffle("__shfl_sync", mask, value, base | ((unsigned)source & (w - 1)), file, line);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_SITE)
{
    const unsigned at = emu_lane & ((unsigned)width - 1);
    return emu_shuffle("__shfl_up_sync", mask, value, at < delta ? emu_lane : emu_lane - delta, file, line);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_SITE)
{
    const unsigned at = emu_lane & ((unsigned)width - 1);
    return emu_shuffle("__shfl_down_sync", mask, value, at + delta < (unsigned)width ? emu_lane + delta : emu_lane, file,
                       line);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMU_SITE)
{
    const unsigned to = emu_lane ^ (unsigned)lanes, last = emu_lane | ((unsigned)width - 1);
    return emu_shuffle("__shfl_xor_sync", mask, value, to <= last ? to & 31 : emu_lane, file, line);
}

EMU_PLAIN static inline const char *emu_do_ballot(void *const payloads[EMU_WARP], uint32_t lanes)
{
    uint32_t votes = 0;
    for (unsigned l = 0; l < EMU_WARP; l++)
        if ((lanes >> l & 1) && ((emu_exchange *)payloads[l])->in)
            votes |= 1u << l;
    for (unsigned l = 0; l < EMU_WARP; l++)
        if (lanes >> l & 1)
            ((emu_exchange *)payloads[l])->out = (uint64_t)lanes << 32 | votes;
    return nullptr;
}

EMU_PLAIN static inline uint64_t emu_vote(const char *what, unsigned mask, bool vote, const char *file, int line)
{
    emu_exchange e = {vote, 0, 0};
    emu_collective(what, mask, emu_do_ballot, &e, false, file, line);
    return e.out;
}
static inline unsigned __ballot_sync(unsigned mask, int p, EMU_SITE)
{
    return (unsigned)emu_vote("__ballot_sync", mask, p != 0, file, line);
}
static inline int __any_sync(unsigned mask, int p, EMU_SITE)
{
    return (unsigned)emu_vote("__any_sync", mask, p != 0, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int p, EMU_SITE)
{
    return (unsigned)emu_vote("__all_sync", mask, p == 0, file, line) == 0;
}

template <int OP> EMU_PLAIN static inline const char *emu_do_reduce(void *const payloads[EMU_WARP], uint32_t lanes)
{
    uint32_t result = 0;
    bool first = true;
    for (unsigned l = 0; l < EMU_WARP; l++) {
        if (!(lanes >> l & 1))
            continue;
        const uint32_t v = (uint32_t)((emu_exchange *)payloads[l])->in, r = result;
        result = first     ? v
                 : OP == 0 ? r + v
                 : OP == 1 ? r | v
                 : OP == 2 ? r & v
                 : OP == 3 ? r ^ v
                 : OP == 4 ? (v > r ? v : r)
                           : (v < r ? v : r);
        first = false;
    }
    for (unsigned l = 0; l < EMU_WARP; l++)
        if (lanes >> l & 1)
            ((emu_exchange *)payloads[l])->out = result;
    return nullptr;
}
#define EMU_REDUCE(name, op)                                                                                           \
    EMU_PLAIN static inline unsigned name(unsigned mask, unsigned value, EMU_SITE)                                     \
    {                                                                                                                  \
        emu_exchange e = {value, 0, 0};                                                                                \
        emu_collective(#name, mask, emu_do_reduce<op>, &e, false, file, line);                                         \
        return (unsigned)e.out;                                                                                        \
    }
EMU_REDUCE(__reduce_add_sync, 0)
EMU_REDUCE(__reduce_or_sync, 1)
EMU_REDUCE(__reduce_and_sync, 2)
EMU_REDUCE(__reduce_xor_sync, 3)
EMU_REDUCE(__reduce_max_sync, 4)
EMU_REDUCE(__reduce_min_sync, 5)

#include "tests/cuda_emu/cuda_emu_math.h"
#include "tests/cuda_emu/cuda_emu_ptx.h"

#endif
