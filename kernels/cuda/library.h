// Libraries that are loaded when they are wanted.
#ifndef ECD_KERNELS_CUDA_LIBRARY_H
#define ECD_KERNELS_CUDA_LIBRARY_H

#include "base/status.h"

typedef struct ecd_symbol {
    const char *name;
    void (**to)(void); // where the function's address goes
} ecd_symbol;

// Loads `file`, or the first of the NULL-terminated `usual` that is there if it is NULL, and finds all the symbols.
// file "": the program itself. ECD_RESOURCE where it is missing or lacks a symbol; close *out with ecd_library_close.
ecd_status ecd_library_open(const char *file, const char *const *usual, const ecd_symbol *symbols, int count,
                            void **out, ecd_diag *diag);
void ecd_library_close(void *library); // NULL is allowed

#endif
