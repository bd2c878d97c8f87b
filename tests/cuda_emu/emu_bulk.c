// Bulk copies (cp.async.bulk) and the mbarriers that tell their end. A copy's bytes arrive as late as they can: when a thread
// waits for the phase that they belong to. Until a thread has waited itself, or met at a barrier one that has, it must not
// touch them.
#include <string.h>

#include "tests/cuda_emu/emu_internal.h"

enum { BARRIERS = 64, COPIES = 256, MOST_ARRIVALS = (1 << 20) - 1, PHASES = 1 << 24 };

typedef struct barrier {
    uint32_t address, count, pending; // arrivals: of a phase, missing in this one
    int64_t expected, begun;          // bytes in this phase
    uint32_t phase;                   // phases that have ended
    uint32_t seen[EMU_MAX_THREADS];   // of them, that a thread knows of
} barrier;

typedef struct bulk {
    uint8_t *shared;
    const uint8_t *device;
    uint32_t bytes;
    unsigned barrier;
} bulk;

static barrier barriers[BARRIERS];
static bulk copies[COPIES];
static unsigned barrier_count, copy_count;
static uint32_t writer[EMU_MAX_SHARED_BYTES]; // of each byte: 1 + barrier * PHASES + phase of the bulk copy; 0: none
static size_t written_end;                     // of the bytes that copies have written
bool emu_bulk_writes;
static uint32_t waited;     // warps of which a thread has waited since they met last
static bool anyone_waited; // since all met
static bool is_there = true;

bool emu_has_bulk_copies(void)
{
    return is_there;
}

void emu_set_bulk_copies(bool there)
{
    is_there = there;
}

void emu_bulk_begin_block(void)
{
    barrier_count = copy_count = 0;
    waited = 0;
    anyone_waited = false;
    memset(writer, 0, written_end * sizeof *writer);
    written_end = 0;
    emu_bulk_writes = false;
}

unsigned emu_bulk_on_the_way(void)
{
    return copy_count;
}

static barrier *barrier_at(uint32_t address, const char *what)
{
    for (unsigned i = 0; i < barrier_count; i++)
        if (barriers[i].address == address)
            return &barriers[i];
    emu_fail("%s at shared address 0x%x, where no mbarrier was initialised", what, address);
}

void emu_mbarrier_init(uint32_t address, uint32_t count)
{
    if (address % 8)
        emu_fail("an mbarrier at shared address 0x%x, which is not a multiple of 8", address);
    if (!count || count > MOST_ARRIVALS)
        emu_fail("an mbarrier of %u arrivals", count);
    emu_access(emu_shared_pointer(address), 8, EMU_WRITE | EMU_ALIGNED);
    for (unsigned i = 0; i < barrier_count; i++)
        if (barriers[i].address == address)
            emu_fail("an mbarrier at shared address 0x%x is initialised twice", address);
    if (barrier_count == BARRIERS)
        emu_fail("more than %d mbarriers in a block", BARRIERS);
    barrier *b = &barriers[barrier_count++];
    memset(b, 0, sizeof *b);
    b->address = address;
    b->count = b->pending = count;
}

// Whether the phase can end; more bytes than were expected are an end too, and a fault.
static bool ends(const barrier *b)
{
    return !b->pending && b->begun >= b->expected;
}

static void end_phase(barrier *b)
{
    if (!ends(b))
        return;
    if (b->begun > b->expected)
        emu_fail("bulk copies bring %lld bytes to an mbarrier that expects %lld", (long long)b->begun, (long long)b->expected);
    unsigned kept = 0;
    for (unsigned i = 0; i < copy_count; i++) {
        const bulk c = copies[i];
        if (c.barrier == (unsigned)(b - barriers))
            memcpy(c.shared, c.device, c.bytes);
        else
            copies[kept++] = c;
    }
    copy_count = kept;
    b->phase++;
    b->pending = b->count;
    b->expected = b->begun = 0;
}

// It must be seen by the thread that it was initialised: an access as any other.
void emu_mbarrier_expect(uint32_t address, uint32_t bytes)
{
    barrier *b = barrier_at(address, "an arrival");
    emu_access(emu_shared_pointer(address), 8, EMU_READ);
    if (bytes > MOST_ARRIVALS)
        emu_fail("an mbarrier is to expect %u bytes", bytes);
    end_phase(b);
    if (!b->pending)
        emu_fail("an arrival at an mbarrier of %u arrivals more than those", b->count);
    b->pending--;
    b->expected += bytes;
}

bool emu_mbarrier_ready(const emu_thread *t)
{
    const barrier *b = t->payload;
    return (b->phase & 1) != t->mask || ends(b);
}

void emu_mbarrier_describe(const emu_thread *t, uint32_t *arrivals, long long *bytes)
{
    const barrier *b = t->payload;
    *arrivals = b->pending;
    *bytes = (long long)(b->expected - b->begun);
}

void emu_mbarrier_wait(uint32_t address, uint32_t parity, const char *file, int line)
{
    barrier *b = barrier_at(address, "a wait");
    emu_access(emu_shared_pointer(address), 8, EMU_READ);
    emu_thread *t = emu_current;
    if (parity > 1)
        emu_fail("a wait for a phase of parity %u", parity);
    for (;;) {
        if ((b->phase & 1) == parity)
            end_phase(b);
        if ((b->phase & 1) != parity)
            break;
        t->state = EMU_AT_MBARRIER;
        t->what = "an mbarrier", t->file = file, t->line = line;
        t->mask = parity, t->payload = b, t->together = NULL;
        emu_pause();
    }
    b->seen[t->number] = b->phase;
    waited |= UINT32_C(1) << t->number / EMU_WARP;
    anyone_waited = true;
}

void emu_bulk_copy(uint32_t to, const void *device, uint32_t bytes, uint32_t at)
{
    barrier *b = barrier_at(at, "a bulk copy");
    if (!bytes || bytes % 16 || to % 16 || (uintptr_t)device % 16)
        emu_fail("a bulk copy of %u bytes from %p to shared address 0x%x, which are not multiples of 16", bytes, device, to);
    uint8_t *shared = emu_shared_pointer(to);
    if (emu_space_of(device) != EMU_DEVICE)
        emu_fail("a bulk copy from %p, which is no device memory", device);
    emu_access(shared, bytes, EMU_WRITE);
    emu_access(device, bytes, EMU_READ);
    if (copy_count == COPIES)
        emu_fail("more than %d bulk copies on the way in a block", COPIES);
    memset(shared, EMU_GARBAGE, bytes);
    copies[copy_count++] = (bulk){shared, device, bytes, (unsigned)(b - barriers)};
    b->begun += bytes;
    const size_t first = (size_t)(shared - emu_shared[1].base);
    for (size_t i = first; i < first + bytes; i++)
        writer[i] = 1 + (uint32_t)(b - barriers) * PHASES + b->phase % PHASES;
    written_end = first + bytes > written_end ? first + bytes : written_end;
    emu_check_forget(first, bytes);
    emu_bulk_writes = true;
}

bool emu_bulk_seen(size_t at)
{
    const uint32_t w = writer[at] - 1;
    return !writer[at] || barriers[w / PHASES].seen[emu_current->number] > w % PHASES;
}

// What one of these threads knows, all know from now on.
static void share(unsigned first, unsigned count, uint32_t lanes)
{
    for (unsigned i = 0; i < barrier_count; i++) {
        uint32_t *seen = barriers[i].seen + first, most = 0;
        for (unsigned l = 0; l < count; l++)
            most = lanes >> l % EMU_WARP & 1 && seen[l] > most ? seen[l] : most;
        for (unsigned l = 0; l < count; l++)
            if (lanes >> l % EMU_WARP & 1)
                seen[l] = most;
    }
}

void emu_bulk_meet_warp(unsigned warp, unsigned count, uint32_t lanes)
{
    if (!(waited >> warp & 1))
        return;
    share(warp * EMU_WARP, count, lanes);
    if (lanes == UINT32_MAX) // else those that met may meet others
        waited &= ~(UINT32_C(1) << warp);
}

void emu_bulk_meet_block(void)
{
    if (anyone_waited)
        share(0, emu_thread_count, UINT32_MAX);
    waited = 0;
    anyone_waited = false;
}
