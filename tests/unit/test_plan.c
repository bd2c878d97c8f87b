// The planner: what it chooses for which sizes, room and rates.
#include <cmocka.h>
#include <stdlib.h>

#include "weights/plan.h"

enum { MAX = 96 };
#define MB ((uint64_t)1 << 20)

typedef struct problem {
    ecd_block_size blocks[MAX];
    ecd_block_kind kinds[MAX];
    ecd_plan_request request;
    ecd_plan plan;
} problem;

// `count` blocks of 24 MB expanded and, if coded, 20 MB as ECF8.
static problem make(int count, bool coded, uint64_t room)
{
    problem p = {.request = {.count = count, .room_bytes = room, .threads = 2, .products = 2e11}};
    p.request.rates = (ecd_rates){.decode = 1.5e9, .read = 0.4e9, .multiply = 1e11};
    for (int i = 0; i < count; i++)
        p.blocks[i] = coded ? (ecd_block_size){24 * MB, 20 * MB, 24 * MB, 20 * MB, 24 * MB, 20 * MB, 0}
                            : (ecd_block_size){24 * MB, 0, 0, 24 * MB, 0, 24 * MB, 0};
    return p;
}

static bool fastest(problem *p)
{
    p->request.blocks = p->blocks;
    return ecd_plan_fastest(&p->request, p->kinds, &p->plan);
}

static uint64_t least(problem *p)
{
    ecd_plan plan;
    p->request.blocks = p->blocks;
    ecd_plan_least(&p->request, p->kinds, &plan);
    return plan.memory_bytes;
}

static void check(const problem *p)
{
    int counts[ECD_BLOCK_KINDS] = {0};
    for (int i = 0; i < p->request.count; i++)
        counts[p->kinds[i]]++;
    for (int kind = 0; kind < ECD_BLOCK_KINDS; kind++)
        assert_int_equal(counts[kind], p->plan.counts[kind]);
    assert_true(p->plan.memory_bytes <= p->request.room_bytes);
    assert_true(p->plan.seconds > 0);
}

static void keeps_all_with_room(void **state)
{
    (void)state;
    problem p = make(28, true, 28 * 24 * MB);
    assert_true(fastest(&p));
    check(&p);
    assert_int_equal(p.plan.counts[ECD_BLOCK_READY], 28);
    assert_int_equal(p.plan.buffers + p.plan.slots, 0);
    p.request.room_bytes--;
    assert_true(fastest(&p));
    check(&p);
    assert_true(p.plan.counts[ECD_BLOCK_READY] < 28);
}

// From the least room on there is always a plan, and more room never makes it slower.
static void every_room(void **state)
{
    (void)state;
    for (int coded = 0; coded < 2; coded++) {
        problem p = make(28, coded, 0);
        uint64_t bottom = least(&p);
        double before = 1e9;
        p.request.room_bytes = bottom - 1;
        assert_false(fastest(&p));
        for (uint64_t room = bottom; room < 700 * MB; room += 7 * MB) {
            p.request.room_bytes = room;
            assert_true(fastest(&p));
            check(&p);
            assert_true(p.plan.seconds <= before * 1.003);
            before = p.plan.seconds;
        }
    }
}

// ECF8 in memory or on disk is never predicted slower than raw weights in the same room, from disks as they are.
static void never_slower_than_raw(void **state)
{
    (void)state;
    static const double disks[] = {0.1e9, 0.25e9, 0.5e9};
    for (size_t d = 0; d < sizeof disks / sizeof *disks; d++)
        for (uint64_t room = 120 * MB; room < 700 * MB; room += 20 * MB) {
            problem raw = make(28, false, room), coded = make(28, true, room);
            raw.request.rates.read = coded.request.rates.read = disks[d];
            raw.request.products = coded.request.products = 1e10; // little compute hides nothing
            assert_true(fastest(&raw) && fastest(&coded));
            assert_true(coded.plan.seconds <= raw.plan.seconds * 1.003);
        }
}

// Rates decide, not constants: the same room is used otherwise by another disk.
static void rates_decide(void **state)
{
    (void)state;
    problem slow = make(28, true, 640 * MB), fast = make(28, true, 640 * MB);
    slow.request.products = fast.request.products = 1e10;
    slow.request.rates.read = 0.05e9;
    fast.request.rates.read = 20e9;
    assert_true(fastest(&slow) && fastest(&fast));
    assert_int_equal(slow.plan.counts[ECD_BLOCK_STREAMED], 0);
    assert_true(slow.plan.counts[ECD_BLOCK_DECODED] > 0);
    assert_true(fast.plan.counts[ECD_BLOCK_STREAMED] > 0);
    assert_true(fast.plan.counts[ECD_BLOCK_READY] > slow.plan.counts[ECD_BLOCK_READY]);
}

// Streamed blocks lie apart, so that each is read while others compute.
static void spreads(void **state)
{
    (void)state;
    problem p = make(28, false, 500 * MB);
    assert_true(fastest(&p));
    int longest = 0, run = 0, streamed = p.plan.counts[ECD_BLOCK_STREAMED];
    for (int i = 0; i < 28; i++) {
        run = p.kinds[i] == ECD_BLOCK_STREAMED ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    assert_true(streamed > 2 && streamed < 14);
    assert_int_equal(longest, 1);
}

// What a block cannot be it does not become, whatever its neighbours are; sizes differ; none at all is a plan too.
static void mixed_blocks(void **state)
{
    (void)state;
    srand(3);
    for (int round = 0; round < 60; round++) {
        problem p = make(rand() % 80, true, 0);
        for (int i = 0; i < p.request.count; i++) {
            ecd_block_size *b = &p.blocks[i];
            uint64_t size = (uint64_t)(1 + rand() % 30) * MB;
            *b = (ecd_block_size){size, size / 2, size, size / 2 + 8192, size, size / 2, (uint64_t)(rand() % 2) * size / 100};
            b->coded_bytes = rand() % 4 ? b->coded_bytes : 0;
            b->slot_bytes = rand() % 4 ? b->slot_bytes : 0;
        }
        uint64_t bottom = least(&p);
        p.request.room_bytes = bottom + (uint64_t)(rand() % 200) * MB;
        assert_true(fastest(&p));
        p.plan.seconds += 1e-9; // of no blocks it is nothing
        check(&p);
        for (int i = 0; i < p.request.count; i++) {
            assert_false(p.kinds[i] == ECD_BLOCK_DECODED && !p.blocks[i].coded_bytes);
            assert_false(p.kinds[i] == ECD_BLOCK_STREAMED && !p.blocks[i].slot_bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_all_with_room), cmocka_unit_test(every_room), cmocka_unit_test(never_slower_than_raw),
        cmocka_unit_test(rates_decide),        cmocka_unit_test(spreads),    cmocka_unit_test(mixed_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
