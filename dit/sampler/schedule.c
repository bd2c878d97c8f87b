#include "dit/sampler/schedule.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json.h"

static const double pi = 3.14159265358979323846;

ecd_status ecd_schedule_refuse(const cJSON *config, const char *const *keys, ecd_diag *diag)
{
    for (; *keys; keys++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, *keys);
        if (item && !cJSON_IsNull(item) && !cJSON_IsFalse(item))
            return ecd_fail(diag, ECD_DATA, "scheduler config: \"%s\" is set, which is not supported", *keys);
    }
    return ECD_OK;
}

ecd_status ecd_schedule_choice(const cJSON *config, const char *key, const char *const *choices, int fallback, int *out,
                               ecd_diag *diag)
{
    const char *text;
    ecd_status status = ecd_json_string(config, key, choices[fallback], &text, diag);
    if (status != ECD_OK)
        return status;
    char known[ECD_DIAG_TEXT / 2] = "";
    for (int i = 0; choices[i]; i++) {
        if (!strcmp(text, choices[i])) {
            *out = i;
            return ECD_OK;
        }
        size_t used = strlen(known);
        if (used + strlen(choices[i]) + 3 < sizeof known) {
            strcpy(known + used, i ? ", " : "");
            strcat(known, choices[i]);
        }
    }
    return ecd_fail(diag, ECD_DATA, "scheduler config: \"%s\" is \"%.64s\", expected one of %s", key, text, known);
}

double ecd_schedule_linspace(double start, double stop, int count, int i)
{
    if (count < 2)
        return start;
    if (i == count - 1)
        return stop;
    return i * ((stop - start) / (count - 1)) + start;
}

// torch.linspace in float: from both ends towards the middle.
static float linspace_f32(float start, float stop, int count, int i)
{
    float step = count > 1 ? (stop - start) / (float)(count - 1) : 0;
    return i < count / 2 ? start + step * (float)i : stop - step * (float)(count - i - 1);
}

static double cosine_alpha(double time)
{
    double c = cos((time + 0.008) / 1.008 * pi / 2);
    return c * c;
}

enum { BETAS_LINEAR, BETAS_SCALED_LINEAR, BETAS_SQUARED_COSINE };

static float beta_at(int kind, double start, double end, int count, int i)
{
    if (kind == BETAS_LINEAR)
        return linspace_f32((float)start, (float)end, count, i);
    if (kind == BETAS_SCALED_LINEAR) {
        float root = linspace_f32((float)sqrt(start), (float)sqrt(end), count, i);
        return root * root;
    }
    double beta = 1 - cosine_alpha((double)(i + 1) / count) / cosine_alpha((double)i / count);
    return (float)(beta < 0.999 ? beta : 0.999);
}

// alphas := the running product of 1 - betas; torch.cumprod accumulates floats in double.
static void cumulate(const float *betas, float *alphas, int count)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        product *= (double)(1.0f - betas[i]);
        alphas[i] = (float)product;
    }
}

// arXiv 2305.08891, algorithm 1: shift and scale sqrt(alphas_cumprod) so that it ends at zero; back to betas.
static void rescale_to_zero_snr(float *betas, float *work, int count)
{
    cumulate(betas, work, count);
    for (int i = 0; i < count; i++)
        work[i] = sqrtf(work[i]);
    float first = work[0], last = work[count - 1], scale = first / (first - last);
    for (int i = 0; i < count; i++) {
        work[i] = (work[i] - last) * scale;
        work[i] *= work[i];
    }
    betas[0] = 1 - work[0];
    for (int i = 1; i < count; i++)
        betas[i] = 1 - work[i] / work[i - 1];
}

static ecd_status read_alphas(const cJSON *config, ecd_schedule *s, ecd_diag *diag)
{
    static const char *const kinds[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
    static const char *const refused[] = {"trained_betas", NULL};
    double start, end;
    int kind;
    ecd_status status;
    if ((status = ecd_schedule_refuse(config, refused, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "beta_schedule", kinds, BETAS_LINEAR, &kind, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "beta_start", 0.0001, &start, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "beta_end", 0.02, &end, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "rescale_betas_zero_snr", false, &s->zero_snr, diag)) != ECD_OK)
        return status;
    if (!(start > 0 && end >= start && end < 1))
        return ecd_fail(diag, ECD_DATA,
                        "scheduler config: \"beta_start\" %g and \"beta_end\" %g, expected 0 < start <= end < 1", start,
                        end);
    s->squared_cosine = kind == BETAS_SQUARED_COSINE;

    size_t bytes = (size_t)s->train_steps * sizeof(float);
    float *betas = malloc(bytes);
    s->alphas_cumprod = malloc(bytes);
    if (!betas || !s->alphas_cumprod) {
        free(betas);
        return ecd_fail_memory(diag, bytes, "the noise schedule");
    }
    for (int i = 0; i < s->train_steps; i++)
        betas[i] = beta_at(kind, start, end, s->train_steps, i);
    if (s->zero_snr)
        rescale_to_zero_snr(betas, s->alphas_cumprod, s->train_steps);
    cumulate(betas, s->alphas_cumprod, s->train_steps);
    free(betas);
    return ECD_OK;
}

ecd_status ecd_schedule_read(const cJSON *config, ecd_spacing spacing, ecd_schedule *out, ecd_diag *diag)
{
    static const char *const predictions[] = {"epsilon", "sample", "v_prediction", NULL};
    static const char *const spacings[] = {"linspace", "leading", "trailing", NULL};
    ecd_schedule s = {0};
    int64_t train_steps, offset;
    int choice = 0;
    ecd_status status;
    if ((status = ecd_json_int(config, "num_train_timesteps", 1000, 2, ECD_SCHEDULE_MAX_TRAIN_STEPS, &train_steps,
                               diag)) != ECD_OK ||
        (status = ecd_json_int(config, "steps_offset", 0, 0, train_steps - 1, &offset, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "prediction_type", predictions, 0, &choice, diag)) != ECD_OK)
        goto out;
    s.train_steps = (int)train_steps;
    s.steps_offset = (int)offset;
    s.prediction = (ecd_prediction)choice;
    if ((status = ecd_schedule_choice(config, "timestep_spacing", spacings, (int)spacing, &choice, diag)) != ECD_OK)
        goto out;
    s.spacing = (ecd_spacing)choice;
    status = read_alphas(config, &s, diag);
out:
    if (status != ECD_OK)
        ecd_schedule_free(&s);
    *out = s;
    return status;
}

void ecd_schedule_free(ecd_schedule *schedule)
{
    free(schedule->alphas_cumprod);
    *schedule = (ecd_schedule){0};
}

float ecd_schedule_sigma(const ecd_schedule *schedule, int timestep)
{
    float alpha = schedule->alphas_cumprod[timestep];
    return sqrtf((1 - alpha) / alpha);
}

double ecd_schedule_sigma_between(const ecd_schedule *schedule, double timestep)
{
    if (timestep <= 0)
        return ecd_schedule_sigma(schedule, 0);
    if (timestep >= schedule->train_steps - 1)
        return ecd_schedule_sigma(schedule, schedule->train_steps - 1);
    int low = (int)timestep;
    double left = ecd_schedule_sigma(schedule, low), right = ecd_schedule_sigma(schedule, low + 1);
    return (right - left) * (timestep - low) + left;
}

static double log_sigma(const ecd_schedule *schedule, int timestep)
{
    return (float)log((double)ecd_schedule_sigma(schedule, timestep));
}

double ecd_schedule_timestep_of(const ecd_schedule *schedule, double sigma)
{
    double target = log(sigma > 1e-10 ? sigma : 1e-10);
    // The last timestep whose log sigma is not above the target; they rise with the timestep.
    int low = 0, high = schedule->train_steps - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (log_sigma(schedule, middle) <= target)
            low = middle;
        else
            high = middle - 1;
    }
    if (low > schedule->train_steps - 2)
        low = schedule->train_steps - 2;
    double left = log_sigma(schedule, low), right = log_sigma(schedule, low + 1);
    double w = (left - target) / (left - right);
    w = w < 0 ? 0 : w > 1 ? 1 : w;
    return (1 - w) * low + w * (low + 1);
}

double ecd_schedule_trailing(int last, int train_steps, int steps, int i)
{
    double ratio = (double)train_steps / steps;
    double t = rint(last + i * -ratio) - 1;
    return t < 0 ? 0 : t;
}

ecd_status ecd_schedule_sigma_spacing(const cJSON *config, ecd_sigma_spacing *out, ecd_diag *diag)
{
    static const char *const refused[] = {"use_beta_sigmas", NULL};
    bool karras, exponential;
    ecd_status status;
    if ((status = ecd_schedule_refuse(config, refused, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "use_karras_sigmas", false, &karras, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "use_exponential_sigmas", false, &exponential, diag)) != ECD_OK)
        return status;
    if (karras && exponential)
        return ecd_fail(diag, ECD_DATA,
                        "scheduler config: \"use_karras_sigmas\" and \"use_exponential_sigmas\" exclude each other");
    *out = karras ? ECD_SIGMAS_KARRAS : exponential ? ECD_SIGMAS_EXPONENTIAL : ECD_SIGMAS_OF_TIMESTEPS;
    return ECD_OK;
}

double ecd_schedule_spaced_sigma(ecd_sigma_spacing spacing, double largest, double smallest, int steps, int i)
{
    if (spacing == ECD_SIGMAS_EXPONENTIAL)
        return exp(ecd_schedule_linspace(log(largest), log(smallest), steps, i));
    const double rho = 7;
    double low = pow(smallest, 1 / rho), high = pow(largest, 1 / rho);
    return pow(high + ecd_schedule_linspace(0, 1, steps, i) * (low - high), rho);
}
