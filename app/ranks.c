#include "app/ranks.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/common.h"
#include "app/options.h"

static bool number_of(const char *name, int64_t min, int *out, bool *bad)
{
    const char *text = getenv(name);
    int64_t value;
    if (!text || !*text)
        return false;
    if (!ecd_parse_int(text, min, 1 << 20, &value)) {
        *bad = true;
        return false;
    }
    *out = (int)value;
    return true;
}

ecd_status ecd_ranks_read(ecd_ranks *out, ecd_diag *diag)
{
    static const struct {
        const char *rank, *count, *here;
    } launchers[] = {
        {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"},
        {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"}, // MPICH, Intel MPI; srun --mpi=pmi2
    };
    *out = (ecd_ranks){.count = 1, .here = 1};
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        ecd_ranks r = {.here = 1, .open_mpi = i == 0};
        bool bad = false;
        bool rank = number_of(launchers[i].rank, 0, &r.rank, &bad), count = number_of(launchers[i].count, 1, &r.count, &bad);
        number_of(launchers[i].here, 1, &r.here, &bad);
        if (bad || (rank && count && r.rank >= r.count))
            return ecd_fail(diag, ECD_USAGE, "the environment's %s and %s: expected a rank and how many there are",
                            launchers[i].rank, launchers[i].count);
        if (rank && count) {
            *out = r;
            return ECD_OK;
        }
    }
    return ECD_OK;
}

// What is used of libmpi, by Open MPI's binary interface (libmpi.so.40: versions 3 to 5).
typedef struct mpi {
    void *library;
    int (*init)(int *argc, char ***argv);
    int (*finalize)(void);
    int (*send)(const void *data, int count, void *type, int to, int tag, void *comm);
    int (*receive)(void *data, int count, void *type, int from, int tag, void *comm, void *status);
    void *world, *bytes; // MPI_COMM_WORLD, MPI_BYTE
} mpi;

static bool load(mpi *m)
{
    *m = (mpi){.library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL)};
    if (!m->library)
        return false;
    const struct {
        void *to;
        const char *name;
    } names[] = {
        {&m->init, "MPI_Init"},       {&m->finalize, "MPI_Finalize"},        {&m->send, "MPI_Send"},
        {&m->receive, "MPI_Recv"},    {&m->world, "ompi_mpi_comm_world"},    {&m->bytes, "ompi_mpi_byte"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *found = dlsym(m->library, names[i].name);
        if (!found)
            return false;
        memcpy(names[i].to, &found, sizeof found); // POSIX: a function's address is a pointer's size
    }
    return !m->init(NULL, NULL);
}

// One write, so that what several processes say stays whole lines.
static ecd_status write_out(const char *text, size_t size, ecd_diag *diag)
{
    while (size) {
        ssize_t wrote = write(STDOUT_FILENO, text, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return ecd_fail(diag, ECD_RESOURCE, "cannot write to standard output: %s", strerror(errno));
        text += wrote;
        size -= (size_t)wrote;
    }
    return ECD_OK;
}

static ecd_status receive(const mpi *m, int from, char **out, ecd_diag *diag)
{
    uint64_t size = 0;
    *out = NULL;
    if (m->receive(&size, sizeof size, m->bytes, from, 0, m->world, NULL) || size >= INT_MAX)
        return ecd_fail(diag, ECD_RESOURCE, "cannot receive the report of rank %d", from);
    if (!(*out = calloc(1, size + 1)))
        return ecd_fail_memory(diag, size, "a report");
    if (m->receive(*out, (int)size, m->bytes, from, 0, m->world, NULL))
        return ecd_fail(diag, ECD_RESOURCE, "cannot receive the report of rank %d", from);
    return ECD_OK;
}

static ecd_status print_all(const ecd_ranks *ranks, const mpi *m, const char *text, bool json, ecd_diag *diag)
{
    ecd_status status = json ? write_out("{\"ranks\": [\n", 12, diag) : ECD_OK;
    if (!status)
        status = write_out(text, strlen(text), diag);
    for (int rank = 1; rank < ranks->count; rank++) { // all are received, whatever becomes of the output
        char *other;
        ecd_status received = receive(m, rank, &other, status ? NULL : diag);
        status = status ? status : received;
        if (!status && json)
            status = write_out(",\n", 2, diag);
        if (!status)
            status = write_out(other, strlen(other), diag);
        free(other);
    }
    return status || !json ? status : write_out("]}\n", 3, diag);
}

ecd_status ecd_ranks_print(const ecd_ranks *ranks, const char *text, bool json, ecd_diag *diag)
{
    mpi m;
    uint64_t size = strlen(text);
    ecd_status status = ecd_app_flush_stdout(diag);
    if (status || ranks->count == 1 || !ranks->open_mpi || !load(&m))
        return status ? status : write_out(text, size, diag);
    if (!ranks->rank)
        status = print_all(ranks, &m, text, json, diag);
    else if (m.send(&size, sizeof size, m.bytes, 0, 0, m.world) || m.send(text, (int)size, m.bytes, 0, 0, m.world))
        status = ecd_fail(diag, ECD_RESOURCE, "cannot send the report to rank 0");
    m.finalize();
    return status;
}
