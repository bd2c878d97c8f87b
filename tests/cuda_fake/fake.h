// Fakes of cuBLASLt and cuDNN for tests: they stand in for the libraries' own functions (the backend's thin files load
// them from the program itself), check every argument as the manuals demand it, record what was asked, and compute it in
// plain C. So what the backend says to the libraries is tested where there is no GPU.
#ifndef ECD_TESTS_CUDA_FAKE_H
#define ECD_TESTS_CUDA_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ECD_FAKE_API __attribute__((visibility("default"))) // found by dlsym in the program

enum { ECD_FAKE_ALGORITHMS = 4 };

typedef struct ecd_fake_counts {
    uint64_t products, convolutions, heuristics, objects; // objects: handles and descriptors not destroyed yet
    uint64_t fp8_products;
    uint64_t checks;                                      // of algorithms that no heuristic was asked for
    uint64_t algorithms[ECD_FAKE_ALGORITHMS];             // products by each candidate, as the heuristic orders them
} ecd_fake_counts;

// The first argument that was wrong since the last call of this, or NULL.
const char *ecd_fake_error(void);
void ecd_fake_clear(void);
ecd_fake_counts ecd_fake_counted(void);

// Off: products and convolutions are checked and recorded, not computed; their memory is not touched.
void ecd_fake_compute(bool on);
// The Nth call of a library function from now on fails with "not supported"; 0: none.
void ecd_fake_fail_call(uint64_t nth);

// ---- for the fakes themselves

// Whether these bytes all lie in one piece of device memory. Whoever fakes the runtime says so.
bool ecd_fake_device_holds(const void *at, size_t bytes);

// Whether the stream is captured: then run(a copy of the arguments) follows at each launch of the graph.
bool ecd_fake_defers(void *stream, void (*run)(void *arguments), const void *arguments, size_t bytes);
// So much time passes on the device.
void ecd_fake_take(double ms);

// Notes a fault; returns `holds`.
bool ecd_fake_expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool ecd_fake_computes(void);
bool ecd_fake_call_fails(void);
// A library's object of so many zero bytes; its status: 0, or one of the two given. And its end, which gives 0.
int ecd_fake_make(void **out, size_t bytes, int refused, int no_memory);
int ecd_fake_drop(void *object);
extern ecd_fake_counts ecd_fake_count;

static inline float ecd_fake_bf16(uint16_t bits)
{
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)bits << 16};
    return v.f;
}

#endif
