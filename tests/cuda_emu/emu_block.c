// Fibres and their scheduler: how the threads of a block take turns.
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cuda_emu/emu_internal.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

emu_xyz emu_block_idx, emu_block_dim, emu_grid_dim, emu_thread_idx;
unsigned emu_lane;
emu_thread *emu_current, emu_threads[EMU_MAX_THREADS];
unsigned emu_thread_count;
uint64_t emu_block_number;
uint32_t emu_block_epoch, emu_warp_epochs[EMU_MAX_THREADS / EMU_WARP];
emu_counts emu_count;

static struct {
    const char *name;
    void (*body)(void *);
    void *arguments;
    bool failed;
    void *scheduler; // its stack pointer while a thread runs
    emu_order order;
    uint32_t random;
} run;
static char error_text[1024];

// ---------------------------------------------------------------- switching

#if defined(__x86_64__)
// Saves what a function must preserve, exchanges the stacks.
void emu_switch(void **save, void *to);
__asm__(".text\n.globl emu_switch\n.hidden emu_switch\n.type emu_switch,@function\nemu_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size emu_switch, . - emu_switch\n");
// Stacks lie a multiple of a page apart: their ends are shifted, or all threads' would share a few sets of the cache.
static void prepare(emu_thread *t, void (*entry)(void))
{
    void **top = (void **)(void *)(t->stack + EMU_STACK_BYTES - t->number % 32 * 192);
    top[-1] = NULL;
    memcpy(&top[-2], &entry, sizeof entry);
    for (int i = 3; i <= 8; i++)
        top[-i] = NULL;
    t->stack_pointer = top - 8;
}
#else
static ucontext_t contexts[EMU_MAX_THREADS + 1];
static void emu_switch(void **save, void *to)
{
    ucontext_t *from = save == &run.scheduler ? &contexts[EMU_MAX_THREADS] : &contexts[emu_current->number];
    *save = from;
    swapcontext(from, to);
}
static void prepare(emu_thread *t, void (*entry)(void))
{
    ucontext_t *c = &contexts[t->number];
    getcontext(c);
    c->uc_stack.ss_sp = t->stack;
    c->uc_stack.ss_size = EMU_STACK_BYTES;
    c->uc_link = NULL;
    makecontext(c, entry, 0);
    t->stack_pointer = c;
}
#endif

void emu_pause(void)
{
    emu_switch(&emu_current->stack_pointer, run.scheduler);
}

static void thread_main(void)
{
    run.body(run.arguments);
    emu_current->state = EMU_ENDED;
    emu_pause();
    abort(); // an ended thread never runs again
}

static void run_thread(emu_thread *t)
{
    emu_current = t;
    emu_thread_idx = t->idx;
    emu_lane = t->number % EMU_WARP;
    emu_switch(&run.scheduler, t->stack_pointer);
    emu_current = NULL;
}

// ---------------------------------------------------------------- faults

static void note_error(const char *format, va_list list)
{
    run.failed = true;
    if (error_text[0])
        return;
    int n = 0;
    const int room = (int)sizeof error_text;
    if (run.name)
        n = snprintf(error_text, sizeof error_text, "%s, block (%u,%u,%u)", run.name, emu_block_idx.x, emu_block_idx.y,
                     emu_block_idx.z);
    if (emu_current && n < room)
        n += snprintf(error_text + n, (size_t)(room - n), ", thread (%u,%u,%u)", emu_thread_idx.x, emu_thread_idx.y,
                      emu_thread_idx.z);
    if (n && n < room)
        n += snprintf(error_text + n, (size_t)(room - n), ": ");
    if (n < room)
        vsnprintf(error_text + n, (size_t)(room - n), format, list);
}

static void note(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    note_error(format, list);
    va_end(list);
}

void emu_fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    note_error(format, list);
    va_end(list);
    if (!emu_current) {
        fprintf(stderr, "%s\n", error_text);
        abort();
    }
    emu_pause(); // for ever
    abort();
}

const char *emu_error(void)
{
    return error_text[0] ? error_text : NULL;
}

void emu_clear(void)
{
    error_text[0] = 0;
}

// The compiler's own checks (-fsanitize=bounds,alignment with traps), and accesses within library functions.
static void on_signal(int number)
{
    if (!emu_current) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    emu_fail(number == SIGILL || number == SIGTRAP ? "an index outside its array, or a misaligned address" : "an access outside all memory");
}

static const int signals[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS};
enum { SIGNALS = sizeof signals / sizeof *signals };

static void set_signals(struct sigaction old[SIGNALS])
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_NODEFER; // it may leave by switching stacks
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, &old[i]);
}

// ---------------------------------------------------------------- meetings

void emu_collective(const char *what, uint32_t mask, emu_together together, void *payload, bool orders_memory,
                    const char *file, int line)
{
    emu_thread *t = emu_current;
    if (!t)
        emu_fail("%s outside of a kernel", what);
    if (!(mask >> emu_lane & 1))
        emu_fail("%s at %s:%d: lane %u is not in its own mask 0x%08x", what, file, line, emu_lane, mask);
    t->state = EMU_AT_COLLECTIVE;
    t->what = what, t->file = file, t->line = line;
    t->mask = mask, t->together = together, t->payload = payload, t->orders_memory = orders_memory;
    emu_pause();
}

int emu_barrier(int value, int *any, int *all, const char *file, int line)
{
    emu_thread *t = emu_current;
    if (!t)
        emu_fail("__syncthreads outside of a kernel");
    int results[3] = {0, 0, 0};
    t->state = EMU_AT_BARRIER;
    t->what = "__syncthreads", t->file = file, t->line = line;
    t->mask = 0, t->together = NULL;
    t->value = value, t->payload = results;
    emu_pause();
    if (any)
        *any = results[1], *all = results[2];
    return results[0];
}

static unsigned lanes_of(unsigned warp)
{
    const unsigned left = emu_thread_count - warp * EMU_WARP;
    return left < EMU_WARP ? left : EMU_WARP;
}

static bool same_place(const emu_thread *a, const emu_thread *b)
{
    return a->state == b->state && a->mask == b->mask && a->together == b->together && a->line == b->line &&
           (a->file == b->file || strcmp(a->file, b->file) == 0);
}

static bool meet(emu_thread *first, emu_thread *warp, unsigned lanes)
{
    void *payloads[EMU_WARP] = {0};
    uint32_t here = 0;
    for (unsigned l = 0; l < lanes; l++) {
        if (!(first->mask >> l & 1) || warp[l].state == EMU_ENDED)
            continue;
        if (!same_place(first, &warp[l]))
            return false;
        payloads[l] = warp[l].payload;
        here |= UINT32_C(1) << l;
    }
    emu_count.collectives++;
    const char *wrong = first->together ? first->together(payloads, here) : NULL;
    if (wrong) {
        note("%s at %s:%d: %s", first->what, first->file, first->line, wrong);
        return false;
    }
    if (first->orders_memory) {
        emu_warp_epochs[first->number / EMU_WARP]++;
        emu_bulk_meet_warp(first->number / EMU_WARP, lanes, here);
    }
    for (unsigned l = 0; l < lanes; l++)
        if (here >> l & 1)
            warp[l].state = EMU_RUNS;
    return true;
}

// Runs the warp until all its threads wait for the block or for what will not come.
static void run_warp(unsigned number)
{
    emu_thread *warp = emu_threads + number * EMU_WARP;
    const unsigned lanes = lanes_of(number);
    for (bool moved = true; moved && !run.failed;) {
        moved = false;
        if (run.order == EMU_SHUFFLED)
            run.random = run.random * 1664525U + 1013904223U;
        const unsigned turn = run.order == EMU_SHUFFLED ? run.random >> 16 : 0;
        for (unsigned i = 0; i < lanes && !run.failed; i++) {
            const unsigned l = run.order == EMU_BACKWARD ? lanes - 1 - i : (i + turn) % lanes;
            if (warp[l].state == EMU_AT_MBARRIER && emu_mbarrier_ready(&warp[l]))
                warp[l].state = EMU_RUNS;
            if (warp[l].state == EMU_RUNS) {
                run_thread(&warp[l]);
                moved = true;
            }
        }
        for (unsigned l = 0; l < lanes && !run.failed; l++)
            if (warp[l].state == EMU_AT_COLLECTIVE && meet(&warp[l], warp, lanes))
                moved = true;
    }
}

static void describe(const emu_thread *t, char *out, size_t size)
{
    if (t->state == EMU_ENDED)
        snprintf(out, size, "thread %u has ended", t->number);
    else if (t->state == EMU_AT_MBARRIER)
        snprintf(out, size, "thread %u waits at %s for its phase of parity %u, %s:%d", t->number, t->what, t->mask, t->file, t->line);
    else if (t->state == EMU_AT_BARRIER)
        snprintf(out, size, "thread %u waits at %s, %s:%d", t->number, t->what, t->file, t->line);
    else
        snprintf(out, size, "thread %u waits at %s with mask 0x%08x, %s:%d", t->number, t->what, t->mask, t->file,
                 t->line);
}

// Two threads that will never meet: one that waits, and one that is elsewhere.
static void fail_apart(const char *what, const emu_thread *a, const emu_thread *b)
{
    char first[300], second[300];
    describe(a, first, sizeof first);
    describe(b, second, sizeof second);
    note("%s: %s; %s", what, first, second);
}

// All threads of the block wait: does one for an mbarrier that another warp has completed meanwhile?
static bool pass_mbarrier(void)
{
    const emu_thread *stuck = NULL;
    for (unsigned i = 0; i < emu_thread_count; i++) {
        if (emu_threads[i].state != EMU_AT_MBARRIER)
            continue;
        if (emu_mbarrier_ready(&emu_threads[i]))
            return true;
        stuck = stuck ? stuck : &emu_threads[i];
    }
    if (stuck) {
        uint32_t arrivals;
        long long bytes;
        char where[300];
        emu_mbarrier_describe(stuck, &arrivals, &bytes);
        describe(stuck, where, sizeof where);
        note("%s, which nothing ends: %u arrivals and %lld bytes are missing", where, arrivals, bytes);
    }
    return false;
}

// All threads of the block wait, or have ended: is it at one barrier?
static bool pass_barrier(void)
{
    const emu_thread *first = emu_threads;
    int sum = 0, any = 0, all = 1;
    if (run.failed)
        return false;
    for (unsigned i = 0; i < emu_thread_count; i++) {
        emu_thread *t = emu_threads + i;
        if (t->state != EMU_AT_COLLECTIVE)
            continue;
        const emu_thread *warp = emu_threads + i / EMU_WARP * EMU_WARP;
        for (unsigned l = 0; l < lanes_of(i / EMU_WARP); l++)
            if ((t->mask >> l & 1) && warp[l].state != EMU_ENDED && !same_place(t, &warp[l])) {
                fail_apart("lanes of a mask at different places", t, &warp[l]);
                return false;
            }
    }
    for (unsigned i = 0; i < emu_thread_count; i++) {
        emu_thread *t = emu_threads + i;
        if (t->state != first->state || (t->state == EMU_AT_BARRIER && !same_place(first, t))) {
            fail_apart("a barrier that not all threads reach", first, t);
            return false;
        }
        sum += t->value, any |= t->value != 0, all &= t->value != 0;
    }
    if (first->state == EMU_ENDED)
        return false;
    for (unsigned i = 0; i < emu_thread_count; i++) {
        memcpy(emu_threads[i].payload, (int[]){sum, any, all}, 3 * sizeof(int));
        emu_threads[i].state = EMU_RUNS;
    }
    emu_count.barriers++;
    emu_block_epoch++;
    emu_bulk_meet_block();
    return true;
}

static void run_block(void)
{
    emu_check_begin_block();
    emu_bulk_begin_block();
    emu_block_epoch = 0;
    memset(emu_warp_epochs, 0, sizeof emu_warp_epochs);
    for (unsigned i = 0; i < emu_thread_count; i++) {
        emu_thread *t = emu_threads + i;
        t->number = i;
        t->idx.x = i % emu_block_dim.x;
        t->idx.y = i / emu_block_dim.x % emu_block_dim.y;
        t->idx.z = i / emu_block_dim.x / emu_block_dim.y;
        t->state = EMU_RUNS;
        t->mask = 0;
        t->together = NULL;
        t->copy_count = t->copy_group = 0;
        prepare(t, thread_main);
    }
    const unsigned warps = (emu_thread_count + EMU_WARP - 1) / EMU_WARP;
    do {
        for (unsigned w = 0; w < warps && !run.failed; w++)
            run_warp(run.order == EMU_BACKWARD ? warps - 1 - w : w);
    } while (!run.failed && (pass_mbarrier() || pass_barrier()));
    if (!run.failed && emu_bulk_on_the_way())
        note("a block ended with %u bulk copies on the way", emu_bulk_on_the_way());
    for (unsigned i = 0; i < emu_thread_count && !run.failed; i++)
        if (emu_threads[i].copy_count)
            note("thread %u ended with copies (cp.async) on the way", i);
    emu_count.blocks++;
}

static void make_stacks(void)
{
    for (unsigned i = 0; i < emu_thread_count; i++) {
        if (emu_threads[i].stack)
            continue;
        uint8_t *p = mmap(NULL, EMU_STACK_BYTES + EMU_PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED || mprotect(p, EMU_PAGE, PROT_NONE)) {
            fprintf(stderr, "no memory for the emulator's stacks\n");
            abort();
        }
        emu_threads[i].stack = p + EMU_PAGE;
    }
}

void emu_launch(const char *name, const void *kernel, emu_xyz grid, emu_xyz block, size_t shared_bytes,
                void (*body)(void *), void *arguments, size_t argument_bytes)
{
    if (error_text[0]) // as on a device, nothing runs after a fault
        return;
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z, threads = (uint64_t)block.x * block.y * block.z;
    run.name = name, run.body = body, run.arguments = arguments, run.failed = false;
    emu_block_idx = (emu_xyz){0, 0, 0};
    emu_count.launches++;
    if (!blocks || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
        note("a grid of %u x %u x %u blocks", grid.x, grid.y, grid.z);
    else if (!threads || threads > EMU_MAX_THREADS || block.z > 64)
        note("a block of %u x %u x %u threads", block.x, block.y, block.z);
    else if (emu_launch_fails())
        note("the launch that was to fail");
    else if (!emu_shared_allowed(kernel, shared_bytes))
        note("%zu bytes of shared memory that cudaFuncSetAttribute did not allow", shared_bytes);
    if (run.failed) {
        run.name = NULL;
        return;
    }
    emu_block_dim = block, emu_grid_dim = grid;
    emu_thread_count = (unsigned)threads;
    make_stacks();
    emu_check_begin_launch(blocks, shared_bytes, arguments, argument_bytes);
    struct sigaction old[SIGNALS];
    set_signals(old);
    for (uint64_t b = 0; b < blocks && !run.failed; b++) {
        const uint64_t number = run.order == EMU_BACKWARD ? blocks - 1 - b : b;
        emu_block_number = number;
        emu_block_idx.x = (unsigned)(number % grid.x);
        emu_block_idx.y = (unsigned)(number / grid.x % grid.y);
        emu_block_idx.z = (unsigned)(number / grid.x / grid.y);
        run_block();
    }
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &old[i], NULL);
    run.name = NULL;
}

void emu_set_order(emu_order order, uint32_t seed)
{
    run.order = order;
    run.random = seed;
}

emu_counts emu_counted(void)
{
    return emu_count;
}
