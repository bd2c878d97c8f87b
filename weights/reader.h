// A tensor's decoded bytes, piece by piece in any order and by any threads, in flat memory whatever its size; and how such
// pieces are shared out.
#ifndef ECD_WEIGHTS_READER_H
#define ECD_WEIGHTS_READER_H

#include "weights/coded.h"
#include "weights/crew.h"

typedef struct ecd_tensor_reader {
    const ecd_tensor *tensor; // borrowed
    uint64_t units;           // elements; of a type that is not known: bytes
    size_t unit_bytes;
    ecd_coded coded;
    ecd_coded_decoder decoder;
    uint8_t *tables; // owned; NULL for raw tensors
} ecd_tensor_reader;

ecd_status ecd_tensor_reader_open(const ecd_tensor *tensor, ecd_tensor_reader *out, ecd_diag *diag);
void ecd_tensor_reader_close(ecd_tensor_reader *reader); // harmless twice and after a failed open
uint64_t ecd_tensor_units(const ecd_tensor *tensor, size_t *unit_bytes);

// *data: `count` units from `first` on, in the file's mapping or decoded to `piece`, which has room for them. CRCs of tiles
// that are decoded to their end are compared.
ecd_status ecd_tensor_reader_read(const ecd_tensor_reader *reader, uint64_t first, uint64_t count, uint8_t *piece,
                                  const uint8_t **data, ecd_diag *diag);
// Gives back mapped pages that reading those units needed.
void ecd_tensor_reader_drop(const ecd_tensor_reader *reader, uint64_t first, uint64_t count);

// Something that is begun by one task and then done piece by piece.
typedef enum ecd_span_state {
    ECD_SPAN_NEW,
    ECD_SPAN_BEGINNING,
    ECD_SPAN_OPEN,
    ECD_SPAN_DONE,
} ecd_span_state;

enum { ECD_SPAN_UNITS = 1 << 20, ECD_TASK_BEGIN = 0, ECD_TASK_PIECE = 1 };

typedef struct ecd_span {
    ecd_span_state state;
    uint64_t units, next, finished;
    uint64_t counted_bytes; // told to progress
} ecd_span;

// Under the lock. Claims fill kind, first and count; false: nothing to hand out now.
bool ecd_span_claim(ecd_span *span, ecd_task *task);
void ecd_span_finish(ecd_span *span, const ecd_task *task);
// Bytes finished of `size_bytes` for the whole span that no call has told yet.
uint64_t ecd_span_progress(ecd_span *span, uint64_t size_bytes);

#endif
