#include "tests/cuda_fake/fake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

ecd_fake_counts ecd_fake_count;
static char text[512];
static bool silent;
static uint64_t fail_at;

const char *ecd_fake_error(void)
{
    return text[0] ? text : NULL;
}

void ecd_fake_clear(void)
{
    text[0] = 0;
    uint64_t objects = ecd_fake_count.objects;
    ecd_fake_count = (ecd_fake_counts){.objects = objects};
}

ecd_fake_counts ecd_fake_counted(void)
{
    return ecd_fake_count;
}

void ecd_fake_compute(bool on)
{
    silent = !on;
}

bool ecd_fake_computes(void)
{
    return !silent;
}

void ecd_fake_fail_call(uint64_t nth)
{
    fail_at = nth;
}

bool ecd_fake_call_fails(void)
{
    return fail_at && --fail_at == 0;
}

bool ecd_fake_expect(bool holds, const char *format, ...)
{
    if (holds || text[0])
        return holds;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return false;
}

int ecd_fake_make(void **out, size_t bytes, int refused, int no_memory)
{
    if (ecd_fake_call_fails())
        return refused;
    *out = calloc(1, bytes);
    ecd_fake_count.objects += *out != NULL;
    return *out ? 0 : no_memory;
}

int ecd_fake_drop(void *object)
{
    ecd_fake_count.objects -= object != NULL;
    free(object);
    return 0;
}
