#include "tests/unit/lazy_device.h"

#include <stdlib.h>
#include <string.h>

#include "codec/ecf8.h"
#include "kernels/decode_part.h"

enum { GARBAGE = 0xa5, HEADER = 64, MAX_PARTS = 16, PLAN_BYTES = 4 };

struct ecd_mark {
    uint64_t set, reached; // how often
};

struct ecd_decode_plan {
    ecd_decode_part parts[MAX_PARTS];
    uint64_t blob_bytes[MAX_PARTS];
    int count;
    void *memory;
    ecd_mark free_again, done;
    int fault; // of the last decode: a part, or -1
};

typedef enum kind { COPY, FREE, DECODE, SET, AWAIT } kind;

typedef struct item {
    kind kind;
    void *to;
    const void *from;
    size_t bytes;
    ecd_mark *mark;
    uint64_t version;
    ecd_decode_plan *plan;
    void *copied; // of an upload: the host's bytes
    struct item *next;
} item;

typedef struct device {
    ecd_backend base;
    ecd_backend_ops ops;
    item *first[ECD_QUEUES], **last[ECD_QUEUES];
    lazy_order order;
    unsigned seed;
    bool ignores_marks;
    uint64_t fail_at;
    lazy_counts counts;
} device;

static device *of(ecd_backend *be)
{
    return (device *)be;
}

// ---- queues

static bool finds_memory(ecd_backend *be)
{
    device *d = of(be);
    if (!ecd_backend_ok(be))
        return false;
    if (d->fail_at && --d->fail_at == 0) {
        d->fail_at = 1;
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: lazy device");
        return false;
    }
    return true;
}

static void decode_now(ecd_decode_plan *p, uint8_t *out)
{
    static uint8_t tables[ECF8_DECODER_MAX_BYTES];
    p->fault = -1;
    for (int i = 0; i < p->count; i++) {
        const uint8_t *from = p->parts[i].there;
        ecf8_view view;
        ecf8_decoder decoder;
        if (ecf8_open(from, p->blob_bytes[i], &view, NULL) ||
            ecf8_decoder_init(&decoder, &view, tables, sizeof tables, ECF8_CPU_AUTO, NULL) ||
            ecf8_decode_weights(&decoder, 0, view.count, NULL, out + p->parts[i].out_offset_bytes,
                                view.count * ecf8_dtype_bytes(view.dtype), ECF8_VERIFY, NULL))
            p->fault = p->fault < 0 ? i : p->fault;
    }
}

static size_t size_of(const uint8_t *memory)
{
    size_t bytes;
    memcpy(&bytes, memory - HEADER, sizeof bytes);
    return bytes;
}

static void give(device *d, uint8_t *memory)
{
    memset(memory, GARBAGE, size_of(memory));
    d->counts.pieces--;
    free(memory - HEADER);
}

static bool may_go(const item *i)
{
    return i->kind != AWAIT || i->mark->reached >= i->version;
}

// The queue's first item, which may go.
static void step(device *d, ecd_queue queue)
{
    item *i = d->first[queue];
    d->first[queue] = i->next;
    if (!i->next)
        d->last[queue] = &d->first[queue];
    switch (i->kind) {
    case COPY: memcpy(i->to, i->copied ? i->copied : i->from, i->bytes); break;
    case FREE: give(d, i->to); break;
    case DECODE: decode_now(i->plan, i->to); break;
    case SET: i->mark->reached++; break;
    case AWAIT: break;
    }
    free(i->copied);
    free(i);
}

// Runs the queue to its end, and of others what that needs: the one whose mark is waited for is not known, so all of them by
// turns.
static void run(device *d, ecd_queue queue)
{
    d->counts.waits += d->first[queue] != NULL;
    while (d->first[queue]) {
        if (may_go(d->first[queue])) {
            step(d, queue);
            continue;
        }
        for (int q = 0; q < ECD_QUEUES; q++)
            if (q != (int)queue && d->first[q] && may_go(d->first[q]))
                step(d, (ecd_queue)q);
    }
}

static void run_all(ecd_backend *be)
{
    for (int q = 0; q < ECD_QUEUES; q++)
        run(of(be), (ecd_queue)q);
}

// What happens beside the host, as the order has it. The operations wait for the host in any: they are slow.
static void go_on(device *d)
{
    bool moved = d->order != LAZY_LATE;
    while (moved) {
        moved = false;
        for (int q = ECD_QUEUE_DECODE; q < ECD_QUEUES; q++) {
            bool goes = d->first[q] && may_go(d->first[q]);
            if (goes && (d->order == LAZY_EARLY || rand_r(&d->seed) % 3 == 0)) {
                step(d, (ecd_queue)q);
                moved = true;
            }
        }
    }
}

static void put(device *d, ecd_queue queue, item what)
{
    item *i = malloc(sizeof *i);
    *i = what;
    i->next = NULL;
    *d->last[queue] = i;
    d->last[queue] = &i->next;
    go_on(d);
}

static void set(device *d, ecd_mark *mark, ecd_queue queue)
{
    mark->set++;
    put(d, queue, (item){.kind = SET, .mark = mark});
}

static void await(device *d, ecd_mark *mark, ecd_queue queue)
{
    put(d, queue, (item){.kind = AWAIT, .mark = mark, .version = mark->set});
}

// ---- operations

static void *allocate(ecd_backend *be, size_t bytes)
{
    device *d = of(be);
    uint8_t *memory = finds_memory(be) ? malloc(bytes + HEADER) : NULL;
    if (!memory)
        return NULL;
    memcpy(memory, &bytes, sizeof bytes);
    memset(memory + HEADER, GARBAGE, bytes);
    d->counts.used += bytes;
    d->counts.pieces++;
    d->counts.peak = d->counts.used > d->counts.peak ? d->counts.used : d->counts.peak;
    return memory + HEADER;
}

// What is allocated after it is in its order too, so that it counts as free already.
static void give_back(ecd_backend *be, void *memory)
{
    of(be)->counts.used -= memory ? size_of(memory) : 0;
    if (memory)
        put(of(be), ECD_QUEUE_COMPUTE, (item){.kind = FREE, .to = memory});
}

static void upload(ecd_backend *be, void *to, const void *from, size_t bytes)
{
    if (!ecd_backend_ok(be))
        return;
    of(be)->counts.uploaded += bytes;
    put(of(be), ECD_QUEUE_COMPUTE, (item){.kind = COPY, .to = to, .from = from, .bytes = bytes});
    run(of(be), ECD_QUEUE_COMPUTE);
}

static void copy(ecd_backend *be, void *to, const void *from, size_t bytes)
{
    put(of(be), ECD_QUEUE_COMPUTE, (item){.kind = COPY, .to = to, .from = from, .bytes = bytes});
}

static void wait(ecd_backend *be)
{
    run(of(be), ECD_QUEUE_COMPUTE);
}

static void multiply(ecd_backend *be, const ecd_linear *op)
{
    (void)be, (void)op;
}

static void *pin(ecd_backend *be, size_t bytes)
{
    void *memory = finds_memory(be) ? malloc(bytes) : NULL;
    of(be)->counts.pinned += memory != NULL;
    return memory;
}

static void unpin(ecd_backend *be, void *memory)
{
    if (!memory)
        return;
    run(of(be), ECD_QUEUE_SEND);
    of(be)->counts.pinned--;
    free(memory);
}

static void send(ecd_backend *be, void *to, const void *from, size_t bytes)
{
    of(be)->counts.sent += bytes;
    put(of(be), ECD_QUEUE_SEND, (item){.kind = COPY, .to = to, .from = from, .bytes = bytes});
}

static ecd_mark *mark_new(ecd_backend *be)
{
    ecd_mark *mark = finds_memory(be) ? calloc(1, sizeof *mark) : NULL;
    of(be)->counts.marks += mark != NULL;
    return mark;
}

// Items that name the mark must be gone.
static void mark_free(ecd_backend *be, ecd_mark *mark)
{
    if (!mark)
        return;
    run_all(be);
    of(be)->counts.marks--;
    free(mark);
}

static void mark_set(ecd_backend *be, ecd_mark *mark, ecd_queue queue)
{
    set(of(be), mark, queue);
}

static void mark_await(ecd_backend *be, ecd_mark *mark, ecd_queue queue)
{
    if (!of(be)->ignores_marks)
        await(of(be), mark, queue);
}

// ---- decoding

static uint64_t decode_bytes(ecd_backend *be, const ecd_decode_part *parts, int count, bool there)
{
    uint64_t sum = PLAN_BYTES;
    (void)be;
    for (int i = 0; i < count && !there; i++)
        sum += ecd_decode_part_bytes(&parts[i]);
    return sum;
}

static ecd_decode_plan *decode_prepare(ecd_backend *be, const ecd_decode_part *parts, int count)
{
    ecd_decode_plan *p = count <= MAX_PARTS && finds_memory(be) ? calloc(1, sizeof *p) : NULL;
    if (!p)
        return NULL;
    uint64_t at = 0;
    p->count = count;
    p->fault = -1;
    p->memory = allocate(be, decode_bytes(be, parts, count, parts[0].there));
    for (int i = 0; p->memory && i < count; i++) {
        p->parts[i] = parts[i];
        p->blob_bytes[i] = parts[i].blob_bytes;
        if (parts[i].there)
            continue;
        p->parts[i].there = (uint8_t *)p->memory + at;
        upload(be, (uint8_t *)p->memory + at, parts[i].blob, parts[i].blob_bytes);
        at += ecd_decode_part_bytes(&parts[i]);
    }
    if (!p->memory) {
        free(p);
        return NULL;
    }
    of(be)->counts.plans++;
    return p;
}

static void decode_free(ecd_backend *be, ecd_decode_plan *p)
{
    if (!p)
        return;
    run_all(be);
    of(be)->counts.plans--;
    give_back(be, p->memory);
    free(p);
}

static int decode(ecd_backend *be, ecd_decode_plan *p, void *out, bool verify)
{
    device *d = of(be);
    set(d, &p->free_again, ECD_QUEUE_COMPUTE);
    await(d, &p->free_again, ECD_QUEUE_DECODE);
    put(d, ECD_QUEUE_DECODE, (item){.kind = DECODE, .to = out, .plan = p});
    set(d, &p->done, ECD_QUEUE_DECODE);
    if (verify)
        run(d, ECD_QUEUE_DECODE);
    return verify ? p->fault : -1;
}

static void decode_join(ecd_backend *be, ecd_decode_plan *p)
{
    await(of(be), &p->done, ECD_QUEUE_COMPUTE);
}

static void device_memory(ecd_backend *be, ecd_device_memory *out)
{
    const lazy_counts *c = &of(be)->counts;
    *out = (ecd_device_memory){.used = c->used, .peak = c->peak, .free = 1 << 30};
}

static uint64_t linear_scratch(ecd_backend *be, const ecd_weight *w, int64_t rows)
{
    (void)be, (void)w, (void)rows;
    return 0;
}

static uint64_t memory_bytes(const ecd_backend *be)
{
    (void)be;
    return 0;
}

static void close_device(ecd_backend *be)
{
    run_all(be);
    free(be);
}

ecd_backend *lazy_device_open(lazy_order order, unsigned seed)
{
    device *d = calloc(1, sizeof *d);
    d->ops = (ecd_backend_ops){.alloc = allocate,
                               .free = give_back,
                               .upload = upload,
                               .copy = copy,
                               .wait = wait,
                               .linear = multiply,
                               .decode_prepare = decode_prepare,
                               .decode_free = decode_free,
                               .decode = decode,
                               .decode_join = decode_join,
                               .decode_bytes = decode_bytes,
                               .pin = pin,
                               .unpin = unpin,
                               .send = send,
                               .mark_new = mark_new,
                               .mark_free = mark_free,
                               .mark_set = mark_set,
                               .mark_await = mark_await,
                               .device_memory = device_memory,
                               .linear_scratch = linear_scratch,
                               .memory_bytes = memory_bytes,
                               .close = close_device};
    d->base = (ecd_backend){.ops = &d->ops, .name = "lazy", .detail = "lazy device", .act_bytes = 4, .threads = 1};
    for (int q = 0; q < ECD_QUEUES; q++)
        d->last[q] = &d->first[q];
    d->order = order;
    d->seed = seed;
    return &d->base;
}

lazy_counts lazy_device_counted(const ecd_backend *be)
{
    return ((const device *)be)->counts;
}

void lazy_device_forget_peak(ecd_backend *be)
{
    of(be)->counts.peak = of(be)->counts.used;
}

void lazy_device_fail(ecd_backend *be, uint64_t nth)
{
    of(be)->fail_at = nth;
}

void lazy_device_ignore_marks(ecd_backend *be, bool ignore)
{
    run_all(be);
    of(be)->ignores_marks = ignore;
}
