// A CUDA device on the CPU, for tests: every .cu file also compiles as C++ (see README.md) and runs here. The blocks of a
// grid run one after the other, the threads of a block as fibres, in the order that emu_set_order names; a thread runs
// until it meets others (a barrier, a warp's collective) or ends.
//
// Every load and store of a kernel is looked at before it happens, because kernels are compiled with -fsanitize=thread
// and emu_check.c answers the compiler's calls. What is found stops the launch, as a fault stops a device: emu_error()
// has the text, and CUDA calls return cudaErrorLaunchFailure until emu_clear().
//
// One thread of the test program may use this at a time.
#ifndef ECD_CUDA_EMU_H
#define ECD_CUDA_EMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EMU_WARP = 32,
    EMU_MAX_THREADS = 1024,
    EMU_MAX_SHARED_BYTES = 227 * 1024, // that a block can ask for (sm_90); more than 48 KB by cudaFuncSetAttribute only
    EMU_DEFAULT_SHARED_BYTES = 48 * 1024,
    EMU_GARBAGE = 0xcb, // fills new device memory, and shared memory before each block
};

// ---------------------------------------------------------------- for tests

// The first fault since the last emu_clear: kernel, block, thread, what. NULL: none.
const char *emu_error(void);
void emu_clear(void);

// The order in which threads run between two meetings. A kernel that lacks a barrier gives other results in one of them.
typedef enum emu_order { EMU_FORWARD, EMU_BACKWARD, EMU_SHUFFLED } emu_order;
void emu_set_order(emu_order order, uint32_t seed);

// Data races: two threads at one byte of shared or device memory, one of them writing, with no barrier (block), no
// __syncwarp (warp) and not by atomics. Shuffles and votes order nothing, as in the PTX manual. On by default; kernels whose
// blocks talk through device memory turn the check between blocks off.
void emu_check_races(bool within_blocks, bool between_blocks);

// The Nth cudaMalloc, of host memory too, from now on (1: the next) and all after it fail; 0: none.
void emu_fail_allocation(uint64_t nth);
// The Nth launch from now on (1: the next) ends in a fault, which stays as on a device, until emu_clear; 0: none.
void emu_fail_launch(uint64_t nth);
void emu_forget_peak(void);

// So much time passes on the device, as its events tell it: nothing else takes any.
void emu_pass_time(double ms);

// The compute capability: 9.0 unless told otherwise.
void emu_set_capability(int major, int minor);
// Whether the device has bulk copies (ECD_HAS_BULK_COPIES of kernels/cuda/ptx.cuh); it does at the beginning.
void emu_set_bulk_copies(bool there);

// 0: no device at all.
void emu_set_device_count(int count);

typedef struct emu_counts {
    uint64_t launches, blocks, barriers, collectives, accesses;
    uint64_t allocations, device_bytes; // now
    uint64_t graph_launches, graph_nodes; // nodes: what those launches stood for
    uint64_t peak_bytes;                // of the device, at most since emu_forget_peak
    uint64_t pinned;                    // pieces of pinned host memory, now
    uint64_t objects;                   // streams, events, graphs and what was instantiated of them, now
} emu_counts;
emu_counts emu_counted(void);

// ---------------------------------------------------------------- for cuda_emu.h

typedef struct emu_xyz {
    unsigned x, y, z;
} emu_xyz;

struct emu_thread;
// Does what a collective does, for all lanes of `lanes` at once: payloads[lane] is what that lane passed. Returns NULL, or
// what is wrong.
typedef const char *(*emu_together)(void *const payloads[EMU_WARP], uint32_t lanes);

extern emu_xyz emu_block_idx, emu_block_dim, emu_grid_dim;
// Of the running thread; all zeros between launches.
extern emu_xyz emu_thread_idx;
extern unsigned emu_lane;

void emu_launch(const char *name, const void *kernel, emu_xyz grid, emu_xyz block, size_t shared_bytes,
                void (*body)(void *), void *arguments, size_t argument_bytes);
// On a stream: at once, or when the graph is launched that it is captured into.
void emu_launch_on(const void *stream, const char *name, const void *kernel, emu_xyz grid, emu_xyz block,
                   size_t shared_bytes, void (*body)(void *), void *arguments, size_t argument_bytes);
void *emu_dynamic_shared(void);
int emu_barrier(int value, int *any, int *all, const char *file, int line); // the sum of the values
void emu_collective(const char *what, uint32_t mask, emu_together together, void *payload, bool orders_memory,
                    const char *file, int line);
void emu_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

// May the running thread access these bytes? Does not return if not. Says nothing outside of launches.
enum { EMU_READ = 0, EMU_WRITE = 1, EMU_ATOMIC = 2, EMU_ALIGNED = 4 };
void emu_access(const volatile void *address, size_t bytes, int how);
typedef enum emu_space { EMU_LOCAL, EMU_SHARED, EMU_DEVICE, EMU_IMAGE, EMU_NOWHERE } emu_space;
emu_space emu_space_of(const volatile void *address);

// cp.async: the bytes arrive when the thread waits for them. Until then there is garbage.
void emu_cp_async(void *shared, const void *device, unsigned bytes, unsigned from_device);
void emu_cp_async_commit(void);
void emu_cp_async_wait(unsigned groups_left);

// Bulk copies and mbarriers, by shared addresses. The bytes arrive when somebody waits for them; until then there is garbage.
void emu_mbarrier_init(uint32_t barrier, uint32_t count);
void emu_mbarrier_expect(uint32_t barrier, uint32_t bytes); // arrives
void emu_mbarrier_wait(uint32_t barrier, uint32_t parity, const char *file, int line);
void emu_bulk_copy(uint32_t shared, const void *device, uint32_t bytes, uint32_t barrier);
bool emu_has_bulk_copies(void);

// Shared memory as PTX addresses it: 32 bits, the first KB kept by the system.
uint32_t emu_shared_address(const void *p);
void *emu_shared_pointer(uint32_t address);

// Runs PTX text, as inline assembly has it (%0, %1, ... are operands[0], operands[1], ...; registers are p for predicates and
// other single letters): what emu_ptx.c says. So the text that runs on a device is the text that is tested.
void emu_ptx(const char *text, uint32_t *const operands[]);

#ifdef __cplusplus
}
#endif

#endif
