// What each load and store of a kernel may touch: the compiler's calls (-fsanitize=thread) end here.
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cuda_emu/emu_internal.h"

emu_region *emu_regions, emu_shared[2], emu_arguments;
static bool races_within = true, races_between = true;

// The program itself: constant tables, __constant__ and __device__ variables.
enum { MAX_SEGMENTS = 16 };
static struct {
    uintptr_t begin, end;
    bool writable;
} image[MAX_SEGMENTS];
static unsigned image_count;

void emu_check_races(bool within_blocks, bool between_blocks)
{
    races_within = within_blocks;
    races_between = between_blocks;
}

// The first object is the program. Its thread-local variables are the kernels' __shared__ ones (cuda_emu.h).
static int read_image(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_TLS && info->dlpi_tls_data) {
            emu_shared[0].base = info->dlpi_tls_data;
            emu_shared[0].bytes = p->p_memsz;
        }
        if (p->p_type == PT_LOAD && image_count < MAX_SEGMENTS) {
            image[image_count].begin = info->dlpi_addr + p->p_vaddr;
            image[image_count].end = info->dlpi_addr + p->p_vaddr + p->p_memsz;
            image[image_count++].writable = p->p_flags & PF_W;
        }
    }
    return 1;
}

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "no memory for the emulator\n");
        abort();
    }
    return p;
}

static void prepare(void)
{
    if (image_count)
        return;
    dl_iterate_phdr(read_image, NULL);
    if (emu_shared[0].bytes)
        emu_shared[0].touched = map(emu_shared[0].bytes * sizeof(emu_touch));
    emu_shared[1].base = map(256 * 1024);
    emu_shared[1].touched = map(EMU_MAX_SHARED_BYTES * sizeof(emu_touch));
}

void *emu_dynamic_shared(void)
{
    return emu_shared[1].base;
}

enum { SYSTEM_BYTES = 1024 };

uint32_t emu_shared_address(const void *p)
{
    const uintptr_t at = (uintptr_t)p - (uintptr_t)emu_shared[1].base;
    if (at > 256 * 1024)
        emu_fail("the shared address of %p, which is not in dynamic shared memory", p);
    return SYSTEM_BYTES + (uint32_t)at;
}

void *emu_shared_pointer(uint32_t address)
{
    if (address < SYSTEM_BYTES || address - SYSTEM_BYTES >= emu_shared[1].bytes)
        emu_fail("shared address 0x%x, outside of dynamic shared memory of %zu bytes", address, emu_shared[1].bytes);
    return emu_shared[1].base + (address - SYSTEM_BYTES);
}

// Stamps tell launches apart by the number of the block, which only grows: no record is wiped between them, until the
// numbers are used up.
enum { MAX_BLOCKS = (1 << 24) - 1 };
static uint64_t launch_first, launch_end = 1; // numbers of the launch's blocks

static void forget_touches(void)
{
    for (emu_region *r = emu_regions; r; r = r->next)
        if (r->touched)
            madvise(r->touched, r->mapped_bytes * sizeof(emu_touch), MADV_DONTNEED);
    if (emu_shared[0].touched)
        memset(emu_shared[0].touched, 0, emu_shared[0].bytes * sizeof(emu_touch));
    memset(emu_shared[1].touched, 0, EMU_MAX_SHARED_BYTES * sizeof(emu_touch));
    launch_end = 1;
}

void emu_check_begin_launch(uint64_t blocks, size_t shared_bytes, void *arguments, size_t argument_bytes)
{
    prepare();
    emu_shared[1].bytes = shared_bytes;
    emu_arguments.base = arguments;
    emu_arguments.bytes = argument_bytes;
    if (blocks > MAX_BLOCKS - launch_end)
        forget_touches();
    launch_first = launch_end;
    launch_end += blocks;
}

void emu_check_begin_block(void)
{
    for (int i = 0; i < 2; i++)
        if (emu_shared[i].bytes)
            memset(emu_shared[i].base, EMU_GARBAGE, emu_shared[i].bytes);
}

// ---------------------------------------------------------------- races

// block: 24 bits, thread 10, block's epoch 14, warp's epoch 15, atomic 1. Epochs wrap: then a race may be missed, or
// two accesses 32768 __syncwarps apart without any barrier between be taken for one.
enum { WARP_AT = 1, BLOCK_AT = 16, THREAD_AT = 30, NUMBER_AT = 40 };

static uint64_t stamp_now(int how)
{
    const unsigned thread = emu_current->number;
    return (launch_first + emu_block_number) << NUMBER_AT | (uint64_t)thread << THREAD_AT |
           (uint64_t)(emu_block_epoch & 0x3fff) << BLOCK_AT |
           (uint64_t)(emu_warp_epochs[thread / EMU_WARP] & 0x7fff) << WARP_AT | (how & EMU_ATOMIC ? 1 : 0);
}

// emu_bulk.c looks after these bytes of dynamic shared memory.
void emu_check_forget(size_t at, size_t bytes)
{
    memset(emu_shared[1].touched + at, 0, bytes * sizeof(emu_touch));
}

static bool conflict(uint64_t before, uint64_t now, bool shared)
{
    if (before >> NUMBER_AT < launch_first || (before & now & 1))
        return false;
    if (before >> NUMBER_AT != now >> NUMBER_AT)
        return races_between && !shared; // each block has shared memory of its own
    const unsigned a = before >> THREAD_AT & 1023, b = now >> THREAD_AT & 1023;
    if (!races_within || a == b || (before ^ now) >> BLOCK_AT & 0x3fff)
        return false;
    return a / EMU_WARP != b / EMU_WARP || !((before ^ now) >> WARP_AT & 0x7fff);
}

// Where another thread of this launch was at the byte before.
static __attribute__((noinline)) void look_for_race(const emu_region *r, size_t at, uint64_t now, int how)
{
    const bool shared = r == &emu_shared[0] || r == &emu_shared[1], writes = how & (EMU_WRITE | EMU_ATOMIC);
    const emu_touch *t = r->touched + at;
    uint64_t other = 0;
    if (conflict(t->write, now, shared))
        other = t->write;
    else if (writes && conflict(t->read, now, shared))
        other = t->read;
    if (other)
        emu_fail("a race at byte %zu of %s memory: this thread %s it, thread %u of block %u %s it, and nothing orders "
                 "the two",
                 at, r == &emu_shared[0] ? "static shared" : r == &emu_shared[1] ? "dynamic shared" : "device",
                 writes ? "writes" : "reads", (unsigned)(other >> THREAD_AT & 1023),
                 (unsigned)((other >> NUMBER_AT) - launch_first), other == t->write ? "wrote" : "read");
}

static void touch(emu_region *r, size_t at, size_t bytes, int how)
{
    if (!r->touched)
        return;
    const uint64_t now = stamp_now(how), begun = launch_first << NUMBER_AT, own = now >> THREAD_AT;
    const bool copied = emu_bulk_writes && r == &emu_shared[1] && races_within;
    for (emu_touch *t = r->touched + at, *end = t + bytes; t < end; t++) {
        if (copied && !emu_bulk_seen((size_t)(t - r->touched)))
            emu_fail("%s byte %zu of shared memory, to which a bulk copy writes, without having waited for its mbarrier",
                     how & (EMU_WRITE | EMU_ATOMIC) ? "writes" : "reads", (size_t)(t - r->touched));
        const bool written = t->write >= begun && t->write >> THREAD_AT != own;
        if (how & (EMU_WRITE | EMU_ATOMIC)) {
            if (written || (t->read >= begun && t->read >> THREAD_AT != own))
                look_for_race(r, (size_t)(t - r->touched), now, how);
            t->write = now;
        } else {
            if (written)
                look_for_race(r, (size_t)(t - r->touched), now, how);
            t->read = now;
        }
    }
}

// ---------------------------------------------------------------- places

static emu_region *region_at(uintptr_t at)
{
    for (int i = 0; i < 2; i++)
        if (at - (uintptr_t)emu_shared[i].base < emu_shared[i].bytes)
            return &emu_shared[i];
    for (emu_region **link = &emu_regions, *r; (r = *link) != NULL; link = &r->next)
        if (at - (uintptr_t)r->base < r->bytes) {
            *link = r->next; // to the front
            r->next = emu_regions;
            return emu_regions = r;
        }
    return NULL;
}

static bool on_stack(uintptr_t at)
{
    return at - (uintptr_t)emu_current->stack < EMU_STACK_BYTES;
}

static int segment_at(uintptr_t at)
{
    if (at < image[0].begin || at >= image[image_count - 1].end) // they rise
        return -1;
    for (unsigned i = 0; i < image_count; i++)
        if (at >= image[i].begin && at < image[i].end)
            return (int)i;
    return -1;
}

emu_space emu_space_of(const volatile void *address)
{
    const uintptr_t at = (uintptr_t)address;
    if (emu_current && on_stack(at))
        return EMU_LOCAL;
    const emu_region *r = region_at(at);
    if (r)
        return r == &emu_shared[0] || r == &emu_shared[1] ? EMU_SHARED : EMU_DEVICE;
    return segment_at(at) >= 0 ? EMU_IMAGE : EMU_NOWHERE;
}

// Words for an address that is none: the memory that it is nearest to.
static void fail_outside(uintptr_t at, size_t bytes, int how)
{
    const char *verb = how & (EMU_WRITE | EMU_ATOMIC) ? "writes" : "reads";
    for (unsigned i = 0; i < emu_thread_count; i++)
        if (at - (uintptr_t)emu_threads[i].stack < EMU_STACK_BYTES)
            emu_fail("%s %zu bytes of local memory of thread %u", verb, bytes, i);
    if (at - (uintptr_t)emu_shared[1].base < 256 * 1024)
        emu_fail("%s %zu bytes at byte %zu of dynamic shared memory of %zu bytes", verb, bytes,
                 (size_t)(at - (uintptr_t)emu_shared[1].base), emu_shared[1].bytes);
    const emu_region *near = NULL;
    uintptr_t distance = 1 << 20;
    for (const emu_region *r = emu_regions; r; r = r->next) {
        const uintptr_t base = (uintptr_t)r->base, gap = at < base ? base - at : at - base - r->bytes;
        if (gap < distance)
            near = r, distance = gap;
    }
    if (near)
        emu_fail("%s %zu bytes at byte %td of device memory of %zu bytes", verb, bytes,
                 (ptrdiff_t)(at - (uintptr_t)near->base), near->bytes);
    emu_fail("%s %zu bytes at %p, which is no device memory", verb, bytes, (void *)at);
}

void emu_access(const volatile void *address, size_t bytes, int how)
{
    if (!emu_current)
        return;
    const uintptr_t at = (uintptr_t)address;
    if (how & EMU_ALIGNED && at % bytes)
        emu_fail("%zu bytes at %p, which is not a multiple of %zu", bytes, (void *)at, bytes);
    if (on_stack(at))
        return;
    emu_count.accesses++;
    emu_region *r = region_at(at);
    if (r) {
        const size_t offset = at - (uintptr_t)r->base;
        if (bytes > r->bytes - offset)
            fail_outside(at, bytes, how);
        touch(r, offset, bytes, how);
        return;
    }
    if (at - (uintptr_t)emu_arguments.base < emu_arguments.bytes && !(how & (EMU_WRITE | EMU_ATOMIC)))
        return;
    const int segment = segment_at(at);
    if (segment >= 0 && (image[segment].writable || !(how & (EMU_WRITE | EMU_ATOMIC))))
        return;
    fail_outside(at, bytes, how);
}

// ---------------------------------------------------------------- the compiler's calls

#define HOOK(name, bytes, how)                                                                                         \
    void name(void *p);                                                                                                \
    void name(void *p)                                                                                                 \
    {                                                                                                                  \
        emu_access(p, bytes, how);                                                                                     \
    }
#define HOOKS(bytes)                                                                                                   \
    HOOK(__tsan_read##bytes, bytes, EMU_READ | EMU_ALIGNED)                                                            \
    HOOK(__tsan_write##bytes, bytes, EMU_WRITE | EMU_ALIGNED)                                                          \
    HOOK(__tsan_volatile_read##bytes, bytes, EMU_READ | EMU_ALIGNED)                                                   \
    HOOK(__tsan_volatile_write##bytes, bytes, EMU_WRITE | EMU_ALIGNED)                                                 \
    HOOK(__tsan_unaligned_read##bytes, bytes, EMU_READ)                                                                \
    HOOK(__tsan_unaligned_write##bytes, bytes, EMU_WRITE)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_read_range(void *p, size_t bytes);
void __tsan_read_range(void *p, size_t bytes)
{
    emu_access(p, bytes, EMU_READ);
}

void __tsan_write_range(void *p, size_t bytes);
void __tsan_write_range(void *p, size_t bytes)
{
    emu_access(p, bytes, EMU_WRITE);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

void __tsan_vptr_update(void **to, void *from);
void __tsan_vptr_update(void **to, void *from)
{
    (void)from;
    emu_access(to, sizeof *to, EMU_WRITE);
}

// ---------------------------------------------------------------- cp.async

void emu_cp_async(void *shared, const void *device, unsigned bytes, unsigned from_device)
{
    if ((bytes != 4 && bytes != 8 && bytes != 16) || from_device > bytes)
        emu_fail("cp.async of %u bytes, %u of them from device memory", bytes, from_device);
    if ((uintptr_t)shared % bytes || (uintptr_t)device % bytes)
        emu_fail("cp.async of %u bytes from %p to %p, which are not multiples of it", bytes, device, shared);
    if (emu_space_of(shared) != EMU_SHARED || (from_device && emu_space_of(device) != EMU_DEVICE))
        emu_fail("cp.async from %p to %p: not from device to shared memory, or outside of them", device, shared);
    emu_access(shared, bytes, EMU_WRITE);
    if (from_device)
        emu_access(device, from_device, EMU_READ);
    emu_thread *t = emu_current;
    if (t->copy_count == EMU_COPIES)
        emu_fail("more than %d copies on the way in one thread", EMU_COPIES);
    memset(shared, EMU_GARBAGE, bytes);
    t->copies[t->copy_count++] = (emu_copy){shared, device, bytes, from_device, t->copy_group};
}

void emu_cp_async_commit(void)
{
    emu_current->copy_group++;
}

void emu_cp_async_wait(unsigned groups_left)
{
    emu_thread *t = emu_current;
    unsigned kept = 0;
    for (unsigned i = 0; i < t->copy_count; i++) {
        const emu_copy c = t->copies[i];
        if (c.group + groups_left >= t->copy_group) { // not committed, or among the last groups
            t->copies[kept++] = c;
            continue;
        }
        emu_access(c.shared, c.bytes, EMU_WRITE);
        memcpy(c.shared, c.device, c.from_device);
        memset(c.shared + c.from_device, 0, c.bytes - c.from_device);
    }
    t->copy_count = kept;
}
