// libecdit: pictures of diffusion transformers (DiT, FLUX.1), whose weights stay losslessly compressed in memory and
// are decoded block by block just before they are used.
//
// A model is opened once and draws any number of jobs:
//
//     ecdit_model *model;
//     ecdit_error error;
//     ecdit_open("weights/emoji", NULL, &model, &error);
//     ecdit_picture cat = {"cat", 0, 7};              // a class, and the seed 7
//     ecdit_job job = ECDIT_JOB_INIT;
//     job.pictures = &cat;
//     job.count = 1;
//     size_t bytes = ecdit_job_bytes(model, &job);
//     uint8_t *pixels = malloc(bytes);
//     ecdit_draw(model, &job, pixels, bytes, &error);  // RGB, [1, height, width, 3]
//     ecdit_close(model);
//
// docs/LIBRARY.md has it as a whole program. The `ecdit` program draws by the same code: the same model, seed and
// settings give the same bytes, on the same machine and backend, whatever holds the weights and however many threads
// work.
//
// Ownership: what is passed in is the caller's and is not needed after the call. Strings that come out belong to the
// model and live as long as it.
//
// Threads: there is no global state. A model is used by one thread at a time, but for ecdit_cancel; different models
// may be used by different threads at once. Each model has threads of its own (options.threads). A model does not
// survive fork(). The environment is read at opening (ECD_CPU, which lowers the instruction set for tests; with CUDA
// variables ECD_CUDA_...), and TMPDIR where the encoders' outputs of many texts do not fit in 64 MB: a program must not
// change it meanwhile.
//
// What it does not do: print, exit, abort on data, catch signals, write files that were not named to it (but for the
// one in TMPDIR, which has no name).
//
// Files are mapped into memory while a model is open. One that another process shortens meanwhile raises SIGBUS, as any
// mapping does: replace model files by renaming.
//
// Hostile input: every field of a file is checked before it is used; a bad file gives ECDIT_ERR_DATA.
//
// Units: a name with _bytes counts bytes. Pictures have sides in pixels and rows from the top, three bytes (red, green,
// blue; sRGB) a pixel, without padding.
//
// Compatibility: numbers of enums stay as they are. Structures begin with their size (the _INIT macros fill it in), so
// that fields can be added behind the last without disturbing programs built before; a field that is 0 means what it
// meant when there was none. Types and calls change only with the library's soname, which is the version's first
// number. Link with pkg-config ecdit, or CMake's ecdit::ecdit (shared) and ecdit::ecdit_static.
#ifndef ECDIT_H
#define ECDIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ECDIT_API __attribute__((visibility("default")))
#else
#define ECDIT_API
#endif

// Of the library, in semantic versioning. ecdit_version() is that of the library in use, which may be another than that
// of this header: 0x010203 for 1.2.3.
#define ECDIT_VERSION_MAJOR 0
#define ECDIT_VERSION_MINOR 1
#define ECDIT_VERSION_PATCH 0
#define ECDIT_VERSION                                                                                                  \
    (UINT32_C(0x10000) * ECDIT_VERSION_MAJOR + UINT32_C(0x100) * ECDIT_VERSION_MINOR + ECDIT_VERSION_PATCH)
ECDIT_API uint32_t ecdit_version(void);

// ---------------------------------------------------------------- errors

// The numbers are a contract, and the exit statuses of the program.
typedef enum ecdit_status {
    ECDIT_OK = 0,
    ECDIT_ERR_USAGE = 1,     // what was asked for cannot be: a path that is not there, a class, a size, a NULL
    ECDIT_ERR_DATA = 2,      // a file's content is bad: truncated, lying, unknown
    ECDIT_ERR_RESOURCE = 3,  // memory, disk or device: not enough, not there, or failing
    ECDIT_ERR_CANCELLED = 4, // stopped on request
} ecdit_status;

enum { ECDIT_MESSAGE_BYTES = 1024 };

// Filled by every call that takes one (NULL is allowed): on success with ECDIT_OK and an empty message.
typedef struct ecdit_error {
    ecdit_status status;               // what the call returned
    char message[ECDIT_MESSAGE_BYTES]; // one line in UTF-8, "FILE: tensor NAME: at byte N: WHAT", without newline
} ecdit_error;

// "ECDIT_ERR_DATA" and the like; "unknown" for a number that is none.
ECDIT_API const char *ecdit_status_name(ecdit_status status);

// ---------------------------------------------------------------- models

typedef struct ecdit_model ecdit_model;

typedef enum ecdit_weights {
    ECDIT_WEIGHTS_AUTO = 0, // as the files hold them
    ECDIT_WEIGHTS_ECF8,     // ECF8 where they are not kept expanded; such as are raw in the files stay raw
    ECDIT_WEIGHTS_RAW,      // uncompressed; those of a compressed folder must fit
} ecdit_weights;

typedef enum ecdit_backend {
    ECDIT_BACKEND_AUTO = 0, // a GPU where one can be used, else the CPU
    ECDIT_BACKEND_REF,      // plain C in a fixed order: slow, the same bytes on every machine
    ECDIT_BACKEND_CPU,
    ECDIT_BACKEND_CUDA,
} ecdit_backend;

typedef enum ecdit_compute {
    ECDIT_COMPUTE_AUTO = 0, // BF16 where the machine multiplies it faster
    ECDIT_COMPUTE_F32,
    ECDIT_COMPUTE_BF16, // sums, norms and residuals stay f32
    ECDIT_COMPUTE_FP8,  // on GPUs: E4M3 weights times activations in E4M3, which changes pictures somewhat
} ecdit_compute;

typedef struct ecdit_options {
    size_t struct_bytes; // sizeof(ecdit_options)
    const char *config;  // for a single file of weights: the diffusers folder with what it lacks. NULL for a folder
    ecdit_weights weights;
    ecdit_backend backend;
    ecdit_compute compute;
    int threads; // 0: as many as the process may run on
    // Of the whole process at its peak, what the program itself holds included; of a GPU's memory where it computes.
    // The fastest plan within it is chosen: blocks stay expanded, stay ECF8, or are read (or sent) at each use. 0: what
    // the machine, its cgroup or the GPU has free.
    uint64_t memory_budget_bytes;
    int vae_tile;           // pixels: larger pictures are decoded in tiles, which changes them. 0: whole
    int max_text_tokens;    // of a prompt. 0: the model's own
    const char *text_cache; // an existing folder that keeps the text encoders' outputs from run to run. NULL: none
    // An existing folder that keeps what was measured: the speeds by which plans are made, and on a GPU the algorithms
    // chosen (the program's is ~/.cache/ecdit). NULL: measured anew where needed, which takes some tenths of a second.
    const char *cache_folder;
} ecdit_options;

#define ECDIT_OPTIONS_INIT                                                                                             \
    {                                                                                                                  \
        sizeof(ecdit_options), NULL, ECDIT_WEIGHTS_AUTO, ECDIT_BACKEND_AUTO, ECDIT_COMPUTE_AUTO, 0, 0, 0, 0, NULL,     \
            NULL                                                                                                       \
    }

// Opens a diffusers model folder, compressed or not, or a single file of weights. A model of classes is loaded for one
// picture at its own size; one of texts when it first draws, since its text encoders come first in the same memory.
// `options` may be NULL. On failure *model is NULL.
//   USAGE     not there, or no model; an option that cannot be
//   DATA      bad configs or weights
//   RESOURCE  the budget is too small (the message says what would do), no memory, no such device
ECDIT_API ecdit_status ecdit_open(const char *path, const ecdit_options *options, ecdit_model **model,
                                  ecdit_error *error);
ECDIT_API void ecdit_close(ecdit_model *model); // NULL is allowed

typedef enum ecdit_kind {
    ECDIT_KIND_CLASSES = 0, // draws one of class_count classes
    ECDIT_KIND_TEXTS,       // draws prompts
} ecdit_kind;

typedef struct ecdit_info {
    size_t struct_bytes; // sizeof(ecdit_info), set by the caller
    ecdit_kind kind;
    const char *architecture; // the transformer's class in diffusers: "DiTTransformer2DModel"
    int64_t class_count;      // ids are 0 to class_count - 1; 0 for texts
    int width, height;        // the model's own size
    int size_step;            // other sizes have sides that are multiples of it; 0: it draws its own size alone
    int steps;                // the model's own
    double guidance;          // likewise
    int max_text_tokens;      // of a prompt; 0 for classes
    // Of the transformer:
    uint64_t parameters; // numbers that it is made of
    uint64_t raw_bytes;  // that they take uncompressed, in the types of the files
    uint64_t file_bytes; // that they take in the files
    uint64_t held_bytes; // in memory, of those that are computed with; 0 until a model of texts has drawn
    int compressed;      // 1: there is ECF8 in the files
    // 1: files that hold ECF8 have their original's SHA-256 on record, and decompressing gives it back byte by byte. 0:
    // it is not on record, since weights were rounded to FP8 first or came from torch's or the published format. ECF8
    // itself never changes a weight, nor does opening.
    int lossless;
    const char *backend;        // that computes: "cpu"
    const char *backend_detail; // "own kernels, avx2, f32"
    ecdit_compute compute;      // that is in use: never AUTO
    int threads;
    const char *plan; // what the memory is used for, in a line of English; until the next draw. "" until planned
} ecdit_info;

#define ECDIT_INFO_INIT                                                                                                \
    {                                                                                                                  \
        sizeof(ecdit_info), ECDIT_KIND_CLASSES, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL,               \
            ECDIT_COMPUTE_AUTO, 0, NULL                                                                                \
    }

// USAGE for a NULL or a struct_bytes that cannot be.
ECDIT_API ecdit_status ecdit_get_info(const ecdit_model *model, ecdit_info *info, ecdit_error *error);

// The first name of a class; NULL for one that has none, and for ids that are none.
ECDIT_API const char *ecdit_class_name(const ecdit_model *model, int64_t id);
// The id of a class by any of its names (letter case ignored for ASCII), or by its number as text. USAGE for one that
// the model has not: the message offers the nearest names.
ECDIT_API ecdit_status ecdit_class_find(const ecdit_model *model, const char *name, int64_t *id, ecdit_error *error);

// ---------------------------------------------------------------- drawing

typedef struct ecdit_picture {
    const char *subject; // a prompt in UTF-8, or a class as ecdit_class_find takes it. NULL: class_id
    int64_t class_id;
    uint64_t seed; // the picture is the one that diffusers draws from it
} ecdit_picture;

typedef enum ecdit_phase {
    ECDIT_PHASE_TEXT = 0, // done and total: blocks of a text encoder; there are several encoders
    ECDIT_PHASE_STEPS,    // steps of a batch
    ECDIT_PHASE_DECODE,   // pictures of a batch, by the VAE
} ecdit_phase;

typedef struct ecdit_progress {
    ecdit_phase phase;
    int done, total;                // of the phase, for the batch at work
    size_t pictures_done, pictures; // of the job
} ecdit_progress;

typedef enum ecdit_fit {
    ECDIT_FIT_SCALE = 0, // the whole picture, its proportions given up
    ECDIT_FIT_CROP,      // its middle, in its proportions
} ecdit_fit;

#define ECDIT_OWN_GUIDANCE (-1.0)

typedef struct ecdit_job {
    size_t struct_bytes; // sizeof(ecdit_job)
    // Drawn as many at once as memory has room for, up to 8: give all pictures of one kind together. Each is the one
    // that its subject and seed give alone. Prompts of a job are encoded together, and the transformer makes way for
    // the encoders unless the job before had the same prompts.
    const ecdit_picture *pictures;
    size_t count;
    int width, height;   // 0: the model's own
    int steps;           // 0: the model's own
    double guidance;     // below 0: the model's own. At most 1 is none for models of classes
    const char *sampler; // "ddim", "dpmpp", "euler", "flow". NULL: the model's own
    // A picture to begin from: [init_height, init_width, 3] bytes, brought to the job's size by Lanczos as Pillow does;
    // NULL: none. `strength`, above 0 and at most 1, is the share of the steps that are taken.
    const uint8_t *init;
    int init_width, init_height;
    ecdit_fit init_fit;
    double strength;
    // Called by the thread that draws: at the beginning of a phase with done 0, and after each step, picture or block
    // of an encoder. Another value than 0 cancels the job. It may call nothing of this model but ecdit_cancel. NULL:
    // none.
    int (*progress)(void *user, const ecdit_progress *progress);
    // Called with a line in English, borrowed for the call, where something was done other than asked: a prompt that
    // was cut, a file of the cache that could not be written. NULL: none.
    void (*notice)(void *user, const char *text);
    void *user;
} ecdit_job;

#define ECDIT_JOB_INIT                                                                                                 \
    {                                                                                                                  \
        sizeof(ecdit_job), NULL, 0, 0, 0, 0, ECDIT_OWN_GUIDANCE, NULL, NULL, 0, 0, ECDIT_FIT_SCALE, 0, NULL, NULL,     \
            NULL                                                                                                       \
    }

// Bytes of the job's pictures, count * height * width * 3. 0 where ecdit_draw would say that the size or the count
// cannot be.
ECDIT_API size_t ecdit_job_bytes(const ecdit_model *model, const ecdit_job *job);

// Draws all pictures of the job into pixels: [count, height, width, 3] bytes, of which there must be ecdit_job_bytes at
// least. After a failure the model can go on to draw; what pixels hold is then not defined.
//   USAGE      an unknown class, a prompt for a model of classes (and the reverse), a size, sampler or number that
//   cannot be DATA       weights that do not decode, or whose file has changed RESOURCE   the budget is too small for
//   such a job; memory, disk or device CANCELLED  ecdit_cancel, or by `progress`
ECDIT_API ecdit_status ecdit_draw(ecdit_model *model, const ecdit_job *job, uint8_t *pixels, size_t pixels_bytes,
                                  ecdit_error *error);

// Makes the ecdit_draw that is at work in another thread (or in this one, from `progress`) return ECDIT_ERR_CANCELLED
// within a block of the model. A later one is not touched. Any thread and a signal handler may call it.
ECDIT_API void ecdit_cancel(ecdit_model *model);

// Writes a picture [height, width, 3] as its path's extension says: .png, .jpg, .bmp or .tga. The file is there whole
// or not at all. USAGE for another extension or sides that cannot be, RESOURCE if it cannot be written.
ECDIT_API ecdit_status ecdit_write_picture(const char *path, const uint8_t *pixels, int width, int height,
                                           ecdit_error *error);

#ifdef __cplusplus
}
#endif

#endif
