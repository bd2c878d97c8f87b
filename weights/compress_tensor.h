// One tensor on its way into a compressed file: stages, each cut into ranges that any threads take. Internal.
//
//   plain:  COPY
//   coded:  [QUANTIZE] SCAN DECIDE MEASURE SIZE (place) PACK SEAL, or after SIZE, where coding saves nothing, COPY
//
// A blob's size is known after SIZE; the file places it then, behind those before it.
#ifndef ECD_WEIGHTS_COMPRESS_TENSOR_H
#define ECD_WEIGHTS_COMPRESS_TENSOR_H

#include "codec/ecf8.h"
#include "weights/compress_internal.h"

typedef enum ecd_stage {
    ECD_STAGE_NEW,
    ECD_STAGE_BEGIN,
    ECD_STAGE_QUANTIZE,
    ECD_STAGE_SCAN,
    ECD_STAGE_DECIDE,
    ECD_STAGE_MEASURE,
    ECD_STAGE_SIZE,
    ECD_STAGE_PLACE, // waits for its place
    ECD_STAGE_PACK,
    ECD_STAGE_SEAL,
    ECD_STAGE_COPY,
    ECD_STAGE_DONE,
} ecd_stage;

typedef struct ecd_item {
    const ecd_tensor *tensor;
    ecd_stage stage;
    bool quantized, coded;
    bool expanded; // from published ECF8: decoded whole before it is coded
    uint64_t units, step, next, finished; // of the stage: tiles, rows or bytes
    ecd_dtype dtype;                      // as stored
    const uint8_t *elements;              // as stored, but for the coding
    uint64_t size_bytes;                  // of the elements
    uint8_t *codes;                       // owned; elements of a quantised or an expanded tensor
    float *scale;                         // owned; one a row
    void *memory;                         // owned; of the plan
    ecf8_plan *plan;
    uint8_t *front; // owned; of the blob, whose data are written range by range
    uint64_t front_bytes, blob_bytes;
    ecf8_mode mode;
    uint64_t held_bytes;                  // of memory, as foreseen
    uint64_t at_bytes, scale_at_bytes;    // places in the file
} ecd_item;

// Whether the tensor is worth coding in the type that it will have.
bool ecd_item_codes(const ecd_tensor *tensor, ecd_dtype dtype);
// The memory that the tensor will take, over and above ranges being worked on.
uint64_t ecd_item_holds(const ecd_item *item, const ecd_work *work);
// Under the lock: begins; hands out a range; moves on after one.
void ecd_item_begin(ecd_item *item, const ecd_work *work);
bool ecd_item_claim(ecd_item *item, ecd_task *task);
void ecd_item_finish(ecd_item *item, const ecd_task *task, const ecd_work *work);
// Under the lock, in stage PLACE: the places are known.
void ecd_item_place(ecd_item *item, const ecd_work *work);
// The bytes that it takes in the file, scales not counted; from stage PLACE on.
uint64_t ecd_item_stored_bytes(const ecd_item *item);
// Does what the task says.
ecd_status ecd_item_run(ecd_item *item, const ecd_task *task, const ecd_work *work, ecd_writer *writer, ecd_diag *diag);
void ecd_item_free(ecd_item *item);

#endif
