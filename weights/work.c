// The jobs of a folder, a file each, shared out to a crew of threads.
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "weights/compress_internal.h"

enum {
    OPEN_AT_MOST = 3,                // files: their headers are in memory
    PIECES_BYTES = 64 << 20,         // that all threads together work on
    TASK_OPEN = -1, TASK_CLOSE = -2, // kinds; those of the jobs' own tasks are not negative
};

static unsigned processors(void)
{
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set))
        return (unsigned)CPU_COUNT(&set);
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (unsigned)count;
}

ecd_status ecd_work_begin(ecd_work *work, const ecd_compress_options *options, ecd_work_report *report,
                          const ecd_tree *tree, ecd_diag *diag)
{
    *report = (ecd_work_report){0};
    *work = (ecd_work){.options = options, .report = report, .start_ns = ecd_now_ns()};
    work->threads = options->threads ? options->threads : processors();
    work->piece_bytes = PIECES_BYTES / work->threads;
    if (work->piece_bytes > ECD_PIECE_BYTES)
        work->piece_bytes = ECD_PIECE_BYTES;
    if (work->piece_bytes < ECD_PIECE_BYTES / 8)
        work->piece_bytes = ECD_PIECE_BYTES / 8;
    for (size_t i = 0; i < tree->count; i++)
        if (!tree->entries[i].folder)
            work->progress.total_bytes += tree->entries[i].size_bytes;
    work->jobs = calloc(tree->count + 1, sizeof *work->jobs);
    work->scratches = calloc(work->threads, sizeof *work->scratches);
    if (!work->jobs || !work->scratches)
        return ecd_fail_memory(diag, tree->count * sizeof *work->jobs, "a list of files");
    return ECD_OK;
}

ecd_status ecd_work_scratch(const ecd_work *work, const ecd_task *task, uint64_t size, uint8_t **out, ecd_diag *diag)
{
    ecd_scratch *scratch = &work->scratches[task->worker];
    if (scratch->size_bytes < size) {
        free(scratch->data);
        scratch->data = malloc(size);
        scratch->size_bytes = scratch->data ? size : 0;
    }
    *out = scratch->data;
    return size && !scratch->data ? ecd_fail_memory(diag, size, "a piece of a tensor") : ECD_OK;
}

ecd_status ecd_work_add(ecd_work *work, const ecd_job_calls *calls, const ecd_tree_entry *entry, char *from, char *to,
                        ecd_job **out, ecd_diag *diag)
{
    if (!from || !to) {
        free(from);
        free(to);
        return ecd_fail_memory(diag, strlen(entry->path), "a path");
    }
    *out = &work->jobs[work->job_count++];
    **out = (ecd_job){.calls = calls, .work = work, .entry = entry, .from = from, .to = to};
    return ECD_OK;
}

void ecd_work_count(ecd_job *job, uint64_t read_bytes)
{
    uint64_t left = job->entry->size_bytes - job->told_bytes; // twins are read more than once
    if (read_bytes > left)
        read_bytes = left;
    job->told_bytes += read_bytes;
    job->work->progress.done_bytes += read_bytes;
}

ecd_status ecd_job_note_scale(ecd_job *job, const char *name, ecd_diag *diag)
{
    char **larger = realloc(job->scales, (job->scale_count + 1) * sizeof *larger);
    if (larger)
        job->scales = larger;
    char *copy = larger ? strdup(name) : NULL;
    if (!copy)
        return ecd_fail_memory(diag, (job->scale_count + 1) * sizeof *larger, "a list of scales");
    job->scales[job->scale_count++] = copy;
    return ECD_OK;
}

static bool claim_of(ecd_job *job, ecd_task *task)
{
    if (job->state != ECD_JOB_ACTIVE)
        return false;
    ecd_claim claim = job->calls->claim ? job->calls->claim(job, task) : ECD_CLAIM_END;
    task->job = job;
    if (claim == ECD_CLAIM_END && !job->in_flight) {
        job->state = ECD_JOB_CLOSING;
        task->kind = TASK_CLOSE;
        return true;
    }
    if (claim == ECD_CLAIM_TASK)
        job->in_flight++;
    return claim == ECD_CLAIM_TASK;
}

// The earliest file that has something to do; the next file when none has.
static ecd_claim claim(void *opaque, ecd_task *task)
{
    ecd_work *work = opaque;
    unsigned open = 0;
    while (work->first_open < work->job_count && work->jobs[work->first_open].state == ECD_JOB_DONE)
        work->first_open++;
    for (size_t i = work->first_open; i < work->next_job; i++) {
        if (claim_of(&work->jobs[i], task))
            return ECD_CLAIM_TASK;
        open += work->jobs[i].state != ECD_JOB_DONE;
    }
    if (work->next_job < work->job_count && open < OPEN_AT_MOST) {
        ecd_job *job = &work->jobs[work->next_job++];
        job->state = ECD_JOB_OPENING;
        *task = (ecd_task){.job = job, .kind = TASK_OPEN};
        return ECD_CLAIM_TASK;
    }
    return work->first_open == work->job_count ? ECD_CLAIM_END : ECD_CLAIM_WAIT;
}

ecd_status ecd_job_check_sum(const ecd_job *job, const char *expected, ecd_diag *diag)
{
    if (!strcmp(job->sha256, expected))
        return ECD_OK;
    (void)ecd_fail(diag, ECD_DATA, "gives back a file of SHA-256 %.64s, expected %.64s as recorded on compressing",
                   job->sha256, expected);
    ecd_diag_file(diag, job->from);
    return ECD_DATA;
}

// Lines of the journal are appended whole: any thread may.
static ecd_status close_job(ecd_job *job, ecd_diag *diag)
{
    ecd_status status = job->calls->close ? job->calls->close(job, diag) : ECD_OK;
    if (!status && job->expected && *job->sha256)
        status = ecd_job_check_sum(job, job->expected, diag);
    if (!status && job->work->partial && ecd_job_journals(job))
        status = ecd_job_journal(job, diag);
    return status;
}

static ecd_status run(void *opaque, const ecd_task *task, ecd_diag *diag)
{
    (void)opaque;
    ecd_job *job = task->job;
    if (task->kind == TASK_OPEN)
        return job->taken_over ? ECD_OK : job->calls->open(job, diag);
    if (task->kind == TASK_CLOSE)
        return close_job(job, diag);
    return job->calls->run(job, task, diag);
}

static void free_own(ecd_job *job)
{
    if (job->own && job->calls->free)
        job->calls->free(job);
    job->own = NULL;
}

static void done(ecd_work *work, ecd_job *job)
{
    ecd_work_report *r = work->report;
    uint64_t left = job->entry->size_bytes - job->told_bytes;
    ecd_work_count(job, left);
    free_own(job);
    job->state = ECD_JOB_DONE;
    if (job->taken_over) {
        work->progress.kept_bytes += job->entry->size_bytes;
        r->files_taken_over++;
    }
    if (work->partial && ecd_job_journals(job))
        work->partial->worth_keeping = true;
    r->files++;
    r->files_coded += job->coded;
    r->tensors += job->tensors.all;
    r->tensors_coded += job->tensors.coded;
    r->tensors_shared += job->tensors.shared;
    r->tensors_quantized += job->tensors.quantized;
    for (int i = 0; i < ECD_WORK_MODES; i++)
        r->tensors_by_mode[i] += job->tensors.by_mode[i];
    r->written_bytes += job->written_bytes;
}

static void finish(void *opaque, const ecd_task *task)
{
    ecd_job *job = task->job;
    if (task->kind == TASK_CLOSE || (task->kind == TASK_OPEN && job->taken_over)) {
        done(opaque, job);
    } else if (task->kind == TASK_OPEN) {
        job->state = ECD_JOB_ACTIVE;
    } else {
        job->in_flight--;
        job->calls->finish(job, task);
    }
}

static bool tick(void *opaque)
{
    ecd_work *work = opaque;
    ecd_work_progress *p = &work->progress;
    p->elapsed_ns = ecd_now_ns() - work->start_ns;
    p->file = work->first_open < work->next_job ? work->jobs[work->first_open].entry->path : NULL;
    return work->options->progress && work->options->progress(work->options->opaque, p);
}

ecd_status ecd_work_run(ecd_work *work, ecd_diag *diag)
{
    static const ecd_crew_calls calls = {claim, run, finish, tick};
    ecd_status status = ecd_crew_run(&calls, work, work->threads, diag);
    work->report->source_bytes = work->progress.done_bytes;
    work->report->kept_bytes = work->progress.kept_bytes;
    work->report->elapsed_ns = ecd_now_ns() - work->start_ns;
    return status;
}

void ecd_work_end(ecd_work *work)
{
    for (size_t i = 0; i < work->job_count; i++) {
        ecd_job *job = &work->jobs[i];
        free_own(job);
        for (size_t k = 0; k < job->scale_count; k++)
            free(job->scales[k]);
        free(job->scales);
        free(job->from);
        free(job->to);
    }
    for (unsigned i = 0; work->scratches && i < work->threads; i++)
        free(work->scratches[i].data);
    free(work->scratches);
    free(work->jobs);
    work->scratches = NULL;
    work->jobs = NULL;
    work->job_count = 0;
}
