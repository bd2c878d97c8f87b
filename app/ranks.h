// The processes of one run on many machines: MPI ranks share the pictures out.
//
// Which of how many this process is, the launcher says in the environment (Open MPI, MPICH and its kin, Slurm), so nothing is
// loaded for it and any launcher works. At the end rank 0 prints what all have to say: libmpi is loaded for that alone,
// where the launcher is Open MPI's and the library is there; its start and end also keep the launcher from ending the others
// because one of them reports a failure. Without it each rank prints its own line.
#ifndef ECD_APP_RANKS_H
#define ECD_APP_RANKS_H

#include "base/status.h"

typedef struct ecd_ranks {
    int rank, count; // count is at least 1
    int here;        // of them on this machine, at least 1
    bool open_mpi;   // started by mpirun of Open MPI
} ecd_ranks;

// From the environment; 0 of 1 where it says nothing. ECD_USAGE for numbers that cannot be.
ecd_status ecd_ranks_read(ecd_ranks *out, ecd_diag *diag);

// Writes the reports of all ranks to standard output in order, by rank 0. `text` is one line or some; `json` says that it is
// one value of JSON, and that those of several ranks become {"ranks": [..]}. Every rank calls this once, at its end.
ecd_status ecd_ranks_print(const ecd_ranks *ranks, const char *text, bool json, ecd_diag *diag);

#endif
