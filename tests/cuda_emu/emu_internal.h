// What the files of the emulator share.
#ifndef ECD_CUDA_EMU_INTERNAL_H
#define ECD_CUDA_EMU_INTERNAL_H

#include "tests/cuda_emu/emu.h"

enum { EMU_STACK_BYTES = 256 * 1024, EMU_PAGE = 4096, EMU_COPIES = 64 };

typedef enum emu_state { EMU_RUNS, EMU_AT_COLLECTIVE, EMU_AT_BARRIER, EMU_AT_MBARRIER, EMU_ENDED } emu_state;

typedef struct emu_copy {
    uint8_t *shared;
    const uint8_t *device;
    unsigned bytes, from_device, group;
} emu_copy;

typedef struct emu_thread {
    void *stack_pointer; // while it does not run
    uint8_t *stack;      // EMU_STACK_BYTES
    emu_xyz idx;
    unsigned number; // in the block
    emu_state state;
    // Where it waits.
    const char *what, *file;
    int line;
    uint32_t mask; // or an mbarrier's parity
    emu_together together;
    void *payload; // or the mbarrier
    bool orders_memory;
    int value;
    // Its copies on the way.
    emu_copy copies[EMU_COPIES];
    unsigned copy_count, copy_group;
} emu_thread;

extern emu_thread *emu_current; // NULL outside of kernels
extern emu_thread emu_threads[EMU_MAX_THREADS];
extern unsigned emu_thread_count;
extern uint64_t emu_block_number;
extern uint32_t emu_block_epoch, emu_warp_epochs[EMU_MAX_THREADS / EMU_WARP];
extern emu_counts emu_count;

// A piece of memory that kernels may use, with a record of who used each byte last (NULL: not kept).
typedef struct emu_touch {
    uint64_t write, read; // a stamp: block of all launches so far, thread, epochs, whether atomic; 0: nobody yet
} emu_touch;
typedef struct emu_region {
    uint8_t *base;
    size_t bytes, mapped_bytes;
    emu_touch *touched;
    struct emu_region *next;
} emu_region;
extern emu_region *emu_regions;   // device memory
extern emu_region emu_shared[2];  // static, dynamic
extern emu_region emu_arguments;  // of the kernel; to be read only

void emu_check_begin_launch(uint64_t blocks, size_t shared_bytes, void *arguments, size_t argument_bytes);
void emu_check_begin_block(void);
// emu_graph.c. Statuses are cudaError_t.
bool emu_captures(const void *stream);
int emu_capture_refuses(void); // ends the capture under way, if there is one, and says so: for calls that it forbids
int emu_capture(void (*run)(void *), const void *arguments, size_t bytes); // something that is done at each launch
int emu_note_error(int error); // for cudaGetLastError; returns it, or the fault of an earlier kernel

bool emu_shared_allowed(const void *kernel, size_t bytes);
bool emu_launch_fails(void);
void emu_pause(void); // lets the others run

// emu_bulk.c
void emu_bulk_begin_block(void);
unsigned emu_bulk_on_the_way(void); // copies
bool emu_mbarrier_ready(const emu_thread *t); // the one that it waits for
void emu_mbarrier_describe(const emu_thread *t, uint32_t *arrivals, long long *bytes); // what is missing there
void emu_bulk_meet_warp(unsigned warp, unsigned count, uint32_t lanes); // those have met at a barrier
void emu_bulk_meet_block(void);
extern bool emu_bulk_writes;      // there has been a bulk copy in this block
bool emu_bulk_seen(size_t at);    // may the running thread touch this byte of dynamic shared memory?
void emu_check_forget(size_t at, size_t bytes); // who touched these last

#endif
