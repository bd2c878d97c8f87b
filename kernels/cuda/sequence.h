// Sequences of operations (backend.h) as CUDA graphs: what was queued once by twenty launches is queued again by one.
//
// Between begin and end operations are noted, not queued. At the end all their arguments, shapes and pointers alike, are
// compared with those of earlier sequences: the first time they are queued one by one, which also makes what they need
// (scratch, algorithms, loaded kernels); the second time that is captured as a graph, which is launched from then on. A graph
// holds the same kernels with the same arguments, so the bits are those of single launches. Where other arguments come (a
// block decoded into another buffer, another batch) another graph is made. Graphs are dropped when the scratch moves.
//
// An operation that is not noted (an upload, a convolution) queues what was noted before it (ecd_cuda_stream_of) and ends the
// sequence; nothing then comes out of order.
#ifndef ECD_KERNELS_CUDA_SEQUENCE_H
#define ECD_KERNELS_CUDA_SEQUENCE_H

#include "kernels/backend.h"

typedef struct ecd_sequences ecd_sequences;

typedef struct ecd_sequence_counts {
    uint64_t single, captured, replayed; // sequences queued one by one, those made to graphs, launches of graphs
} ecd_sequence_counts;

ecd_sequences *ecd_cuda_sequences_open(void); // NULL when memory is out
void ecd_cuda_sequences_close(ecd_backend *be);
void ecd_cuda_sequence_begin(ecd_backend *be);
void ecd_cuda_sequence_end(ecd_backend *be);
// Queues what is held back, one by one, and ends the sequence. Where there is none nothing is done.
void ecd_cuda_sequence_flush(ecd_backend *be);
// Drops all graphs: memory that they work in moves.
void ecd_cuda_sequences_forget(ecd_backend *be);
// Whether operations are being captured: then nothing may be allocated.
bool ecd_cuda_sequence_captures(const ecd_backend *be);
ecd_sequence_counts ecd_cuda_sequence_counted(const ecd_backend *be);

#endif
