// A backend whose memory is a device's, for tests of the store's order: nothing that is called on its queues happens before it
// must, or it happens as soon as it may, or at random between, so that what a mark is missing for goes wrong. Operations are
// copies alone; containers are decoded by libecf8.
#ifndef ECD_TESTS_LAZY_DEVICE_H
#define ECD_TESTS_LAZY_DEVICE_H

#include "kernels/backend.h"

typedef enum lazy_order {
    LAZY_LATE,  // decoding and sending go on only when something waits for them
    LAZY_EARLY, // they go on at once as far as they may, before the operations called earlier
    LAZY_RANDOM,
    LAZY_ORDERS,
} lazy_order;

typedef struct lazy_counts {
    uint64_t used, peak, pieces; // device memory
    uint64_t pinned, marks, plans;
    uint64_t waits;              // of the host for a queue that was not done
    uint64_t sent, uploaded;     // bytes
} lazy_counts;

ecd_backend *lazy_device_open(lazy_order order, unsigned seed);
lazy_counts lazy_device_counted(const ecd_backend *be);
void lazy_device_forget_peak(ecd_backend *be);
// The Nth thing from now on that takes memory (of device or host), and all after it, finds none; 0: none.
void lazy_device_fail(ecd_backend *be, uint64_t nth);
// Nobody waits for the caller's marks: what a test must notice. Queues are run to their ends before and after.
void lazy_device_ignore_marks(ecd_backend *be, bool ignore);

#endif
