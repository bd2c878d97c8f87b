// Status codes and the diagnosis that every fallible function fills.
//
// A function that can fail returns an ecd_status and takes an `ecd_diag *` as its last argument. On ECD_OK the
// diagnosis is left alone; otherwise it says what went wrong, in which file, tensor and at which byte. The
// values are the exit statuses of the program: a contract (see docs/ARCHITECTURE.md).
#ifndef ECD_BASE_STATUS_H
#define ECD_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ecd_status {
    ECD_OK = 0,
    ECD_USAGE = 1,       // the caller asked for something that cannot be: an option, a class, a size
    ECD_DATA = 2,        // a file's content is bad: truncated, lying, unknown
    ECD_RESOURCE = 3,    // memory, disk or device: not enough, not there, or failing
    ECD_INTERRUPTED = 4, // stopped on request
} ecd_status;

// A flag that asks work to stop: a signal handler or another thread sets it. NULL is one that nobody sets.
static inline bool ecd_is_set(const volatile int *flag)
{
    return flag && __atomic_load_n(flag, __ATOMIC_RELAXED);
}

enum { ECD_DIAG_TEXT = 512, ECD_DIAG_NAME = 256 };

typedef struct ecd_diag {
    ecd_status status;
    char what[ECD_DIAG_TEXT];   // the fault and what was expected, without a final period
    char file[ECD_DIAG_NAME];   // "" where no file is concerned
    char tensor[ECD_DIAG_NAME]; // "" where no tensor is concerned
    uint64_t offset_bytes;      // place in `file`; valid if has_offset
    bool has_offset;
} ecd_diag;

// Fills `diag` (may be NULL) with `status` and the message; clears file, tensor and offset. Returns `status`,
// so that a caller can write `return ecd_fail(...)`.
ecd_status ecd_fail(ecd_diag *diag, ecd_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// ecd_fail for a failed allocation of `size_bytes` (status ECD_RESOURCE); `what_for` names its purpose.
ecd_status ecd_fail_memory(ecd_diag *diag, uint64_t size_bytes, const char *what_for);

// ecd_fail for a failed system call on `path`: the text ends with strerror(errno). Status is ECD_USAGE for a path
// that is not there or not permitted, ECD_RESOURCE for a full disk, failing device or lack of memory, ECD_DATA otherwise.
ecd_status ecd_fail_errno(ecd_diag *diag, const char *path, const char *doing);

// Add the place to a diagnosis already filled. Each keeps what an inner call has set: the innermost knows best.
void ecd_diag_file(ecd_diag *diag, const char *path);
void ecd_diag_tensor(ecd_diag *diag, const char *name);
void ecd_diag_offset(ecd_diag *diag, uint64_t offset_bytes);

// Writes one line without newline, "FILE: tensor NAME: at byte N: WHAT", control characters escaped.
// Returns the length that the whole line has (as snprintf).
size_t ecd_diag_format(const ecd_diag *diag, char *out, size_t size);

#endif
