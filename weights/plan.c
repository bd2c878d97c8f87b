#include "weights/plan.h"

enum {
    MAX_BUFFERS = 2, // one used, one decoded meanwhile
    MAX_TRIES = 64,  // numbers of READY blocks that are tried: enough for every number of most models
};

static bool may_be(const ecd_block_size *block, ecd_block_kind kind)
{
    switch (kind) {
    case ECD_BLOCK_DECODED: return block->coded_bytes > 0;
    case ECD_BLOCK_STREAMED: return block->slot_bytes > 0;
    default: return true;
    }
}

// Deals out the kinds evenly over the order of use, so that reading and decoding have the time of the READY blocks
// between: block i gets the kind that is furthest behind its share.
static void deal(const ecd_plan_request *r, const int wanted[ECD_BLOCK_KINDS], ecd_block_kind *kinds)
{
    int64_t given[ECD_BLOCK_KINDS] = {0};
    for (int i = 0; i < r->count; i++) {
        int64_t most = 0;
        int best = -1;
        for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++) {
            int64_t behind = (int64_t)wanted[kind] * (i + 1) - given[kind] * r->count;
            if (may_be(&r->blocks[i], (ecd_block_kind)kind) && (best < 0 || behind > most)) {
                best = kind;
                most = behind;
            }
        }
        kinds[i] = (ecd_block_kind)best;
        given[best]++;
    }
}

static void grow(uint64_t *size, uint64_t wanted)
{
    *size = wanted > *size ? wanted : *size;
}

// The time of a pass: compute and decoding share the processors, whether a thread decodes ahead into a buffer or each decodes
// what it multiplies; reading goes on beside them where there is a place to
// read into. Where two things overlap, a little of the shorter shows: the first and last do not overlap anything.
static double predict(const ecd_plan_request *r, const ecd_plan *plan, uint64_t decoded_bytes, bool lends_slots)
{
    double threads = r->threads > 1 ? r->threads : 1, decoders = threads > 2 ? 2 : threads;
    double compute = r->products / r->rates.multiply, work = (double)decoded_bytes / r->rates.decode;
    double read = (double)plan->read_bytes / r->rates.read;
    double alone = work / decoders, beside = compute + work / threads;
    double busy = !plan->buffers ? beside : plan->buffers > 1 ? (alone > beside ? alone : beside) : compute + alone;
    if (r->beside && plan->buffers > 1) // a device's share of both: half of the shorter is hidden. An assumption, not measured
        busy = work > compute ? work + compute / 2 : compute + work / 2;
    if (!plan->slots)
        return busy;
    if (plan->slots == 1)
        read += lends_slots ? busy : alone;
    double shorter = read < busy ? read : busy;
    return (read > busy ? read : busy) + shorter * (plan->slots > 2 ? 0.02 : 0.05);
}

static void weigh(const ecd_plan_request *r, const ecd_block_kind *kinds, int buffers, int slots, ecd_plan *out)
{
    uint64_t decoded = 0;
    bool lends_slots = false;
    *out = (ecd_plan){.products = r->products};
    for (int i = 0; i < r->count; i++) {
        const ecd_block_size *block = &r->blocks[i];
        out->counts[kinds[i]]++;
        if (kinds[i] == ECD_BLOCK_READY) {
            out->held_bytes += block->ready_bytes;
            continue;
        }
        decoded += block->decoded_bytes;
        grow(&out->buffer_bytes, block->buffer_bytes);
        if (kinds[i] == ECD_BLOCK_DECODED) {
            out->held_bytes += block->coded_bytes;
            continue;
        }
        out->held_bytes += block->streamed_bytes;
        grow(&out->slot_bytes, block->slot_bytes);
        out->read_bytes += block->read_bytes;
        lends_slots = lends_slots || !block->buffer_bytes;
    }
    int others = out->counts[ECD_BLOCK_DECODED] + out->counts[ECD_BLOCK_STREAMED];
    out->buffers = !out->buffer_bytes ? 0 : buffers < others ? buffers : others;
    out->slots = slots < out->counts[ECD_BLOCK_STREAMED] ? slots : out->counts[ECD_BLOCK_STREAMED];
    out->memory_bytes =
        out->held_bytes + out->buffer_bytes * (uint64_t)out->buffers + out->slot_bytes * (uint64_t)out->slots;
    out->seconds = predict(r, out, decoded, lends_slots);
}

static bool better(const ecd_plan *a, const ecd_plan *b)
{
    double margin = 0.002 * b->seconds; // less than what can be predicted
    if (a->seconds < b->seconds - margin || a->seconds > b->seconds + margin)
        return a->seconds < b->seconds;
    if (a->read_bytes != b->read_bytes)
        return a->read_bytes < b->read_bytes;
    return a->memory_bytes < b->memory_bytes;
}

static bool smaller(const ecd_plan *a, const ecd_plan *b)
{
    return a->memory_bytes < b->memory_bytes;
}

typedef struct search {
    const ecd_plan_request *request;
    ecd_block_kind *kinds;
    bool (*prefers)(const ecd_plan *a, const ecd_plan *b);
    uint64_t room_bytes;
    ecd_plan best;
    int best_wanted[ECD_BLOCK_KINDS];
    bool found;
} search;

static void try_deal(search *s, int ready, int decoded)
{
    const int wanted[ECD_BLOCK_KINDS] = {ready, decoded, s->request->count - ready - decoded};
    deal(s->request, wanted, s->kinds);
    for (int buffers = 1; buffers <= MAX_BUFFERS; buffers++)
        for (int slots = 1; slots <= ECD_PLAN_MAX_SLOTS; slots++) {
            ecd_plan plan;
            weigh(s->request, s->kinds, buffers, slots, &plan);
            if (plan.memory_bytes > s->room_bytes || (s->found && !s->prefers(&plan, &s->best)))
                continue;
            s->best = plan;
            s->found = true;
            for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
                s->best_wanted[kind] = wanted[kind];
        }
}

static bool run(search *s, ecd_plan *out)
{
    int count = s->request->count, step = count / MAX_TRIES + 1;
    for (int ready = 0; ready < count + step; ready += step)
        for (int decoded = 0, most = ready < count ? count - ready : 0; decoded < most + step; decoded += step)
            try_deal(s, ready < count ? ready : count, decoded < most ? decoded : most);
    if (!s->found)
        return false;
    deal(s->request, s->best_wanted, s->kinds);
    *out = s->best;
    return true;
}

void ecd_plan_ready(const ecd_plan_request *request, ecd_block_kind *kinds, ecd_plan *out)
{
    for (int i = 0; i < request->count; i++)
        kinds[i] = ECD_BLOCK_READY;
    weigh(request, kinds, 0, 0, out);
}

void ecd_plan_least(const ecd_plan_request *request, ecd_block_kind *kinds, ecd_plan *out)
{
    search s = {.request = request, .kinds = kinds, .prefers = smaller, .room_bytes = UINT64_MAX};
    run(&s, out);
}

bool ecd_plan_fastest(const ecd_plan_request *request, ecd_block_kind *kinds, ecd_plan *out)
{
    search s = {.request = request, .kinds = kinds, .prefers = better, .room_bytes = request->room_bytes};
    return run(&s, out);
}
