// Algorithms that were chosen, kept from run to run, so that a shape is computed by the same one whoever asks and when:
// libraries offer several for a shape, which add in other orders.
//
// The file is a line an entry, with a CRC32C of its own: what it is for (library and its version, device, shape) and the
// choice. It is a help only. A line that is not exactly what would have been written is passed over, a choice that the
// library refuses is made anew, and where the file cannot be written nothing is kept. Processes that share a file agree: who
// finds no entry locks FILE.lock, looks again, chooses, and puts the whole file in place by renaming.
#ifndef ECD_KERNELS_CUDA_CHOICES_H
#define ECD_KERNELS_CUDA_CHOICES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ecd_choices ecd_choices;

enum { ECD_CHOICE_SHAPE = 8, ECD_CHOICE_DATA = 8 };

// All that a choice depends on, beside the device. Nothing in it says which weight is multiplied.
typedef struct ecd_choice_key {
    const char *library; // "cublaslt", "cudnn": at most 15 letters
    uint64_t version;
    int64_t shape[ECD_CHOICE_SHAPE];
} ecd_choice_key;

typedef struct ecd_choice {
    uint64_t data[ECD_CHOICE_DATA]; // the library's own
    bool timed;                     // chosen by timing, not by what the library expects
} ecd_choice;

typedef struct ecd_choosing {
    // Whether the library takes what a file said.
    bool (*usable)(void *user, const ecd_choice *choice);
    // Makes a choice, by timing candidates if `timed`; *out says whether it was. Returns 0 or the library's error.
    int (*choose)(void *user, bool timed, ecd_choice *out);
    void *user;
} ecd_choosing;

// file: NULL for none. device: a name, whatever tells devices apart that choose otherwise. tune: choices are to be made by
// timing, and those that were not are made anew; without a file that could keep them they are not. NULL when memory is out.
ecd_choices *ecd_choices_open(const char *file, const char *device, bool tune);
void ecd_choices_close(ecd_choices *c); // NULL is allowed

// *out := the key's choice, found or made. Returns 0 or what `choose` returned.
int ecd_choices_settle(ecd_choices *c, const ecd_choice_key *key, const ecd_choosing *how, ecd_choice *out);

#endif
