#include "weights/alpha_law.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_NODES = 961 };

static const double REACH = 3.3; // of the tanh-sinh rule: t from -3.3 to 3.3
static const double PI = 3.14159265358979323846;

// At a node theta of Zolotarev's integral: ln g = power * (ln x + slope) + level.
typedef struct node {
    double weight, slope, level;
} node;

// Nodes crowd at both ends of 0 .. pi/2, where the integrand turns for small and for large x. Near pi/2 the cosine is
// taken of the distance to the end, which keeps its digits.
static int make_nodes(double alpha, node *nodes)
{
    double near = fabs(alpha - 1); // the nearer to Cauchy's law, the steeper the turn
    int count = near < 0.06 ? MOST_NODES : near < 0.11 ? 481 : near < 0.16 ? 241 : 121;
    double step = 2 * REACH / (count - 1);
    for (int i = 0; i < count; i++) {
        double t = i * step - REACH, stretch = PI * sinh(t);
        double theta = PI / 2 / (1 + exp(-stretch)), rest = PI / 2 / (1 + exp(stretch));
        double cosine = sin(rest);
        nodes[i].weight = step * PI * cosh(t) * theta * rest / (PI / 2);
        nodes[i].slope = log(cosine) - log(sin(alpha * theta));
        nodes[i].level = log(cos((alpha - 1) * theta)) - log(cosine);
    }
    return count;
}

static double integral(double alpha, const node *nodes, int count, double log_x)
{
    double power = alpha / (alpha - 1), sum = 0;
    for (int i = 0; i < count; i++) {
        double g = exp(power * (log_x + nodes[i].slope) + nodes[i].level);
        sum += nodes[i].weight * (alpha > 1 ? exp(-g) : -expm1(-g));
    }
    return 2 / PI * sum;
}

static void fill(ecd_alpha_law *law, double alpha)
{
    node nodes[MOST_NODES];
    int count = 0;
    bool cauchy = fabs(alpha - 1) < 1e-9, normal = alpha > 2 - 1e-9;
    law->alpha = alpha;
    if (!cauchy && !normal)
        count = make_nodes(alpha, nodes);
    for (int i = 0; i < ECD_ALPHA_POINTS; i++) {
        double log2_x = ECD_ALPHA_LOWEST + (double)i / ECD_ALPHA_EIGHTHS, x = exp2(log2_x);
        law->above[i] = cauchy ? 2 / PI * atan2(1, x) : normal ? erfc(x / 2)
                                                 : integral(alpha, nodes, count, log2_x * log(2));
    }
}

ecd_status ecd_alpha_table_new(ecd_alpha_table **out, ecd_diag *diag)
{
    ecd_alpha_table *table = malloc(sizeof *table);
    *out = table;
    if (!table)
        return ecd_fail_memory(diag, sizeof *table, "a table of stable laws");
    for (int i = 0; i < ECD_ALPHA_LAWS; i++)
        fill(&table->laws[i], ECD_ALPHA_LEAST + (2 - ECD_ALPHA_LEAST) * i / (ECD_ALPHA_LAWS - 1));
    return ECD_OK;
}

void ecd_alpha_table_free(ecd_alpha_table *table)
{
    free(table);
}

// The weights of four neighbours at 0, 1, 2, 3 for the cubic through them.
static void cubic(double at, double weights[4])
{
    double a = at, b = at - 1, c = at - 2, d = at - 3;
    weights[0] = -b * c * d / 6;
    weights[1] = a * c * d / 2;
    weights[2] = -a * b * d / 2;
    weights[3] = a * b * c / 6;
}

static int first_of_four(double at, int count)
{
    int first = (int)at - 1;
    return first < 0 ? 0 : first > count - 4 ? count - 4 : first;
}

void ecd_alpha_law_at(const ecd_alpha_table *table, double alpha, ecd_alpha_law *out)
{
    double at = (alpha - ECD_ALPHA_LEAST) / (2 - ECD_ALPHA_LEAST) * (ECD_ALPHA_LAWS - 1), weights[4];
    int first = first_of_four(at, ECD_ALPHA_LAWS);
    const ecd_alpha_law *laws = &table->laws[first];
    cubic(at - first, weights);
    out->alpha = alpha;
    for (int i = 0; i < ECD_ALPHA_POINTS; i++)
        out->above[i] = weights[0] * laws[0].above[i] + weights[1] * laws[1].above[i] + weights[2] * laws[2].above[i] +
                        weights[3] * laws[3].above[i];
}

double ecd_alpha_above(const ecd_alpha_law *law, double log2_x)
{
    double at = (log2_x - ECD_ALPHA_LOWEST) * ECD_ALPHA_EIGHTHS, weights[4];
    if (at <= 0) // the density is level about zero
        return 1 - (1 - law->above[0]) * exp2(log2_x - ECD_ALPHA_LOWEST);
    if (at >= ECD_ALPHA_POINTS - 1) // a power law
        return law->above[ECD_ALPHA_POINTS - 1] * exp2(-law->alpha * (at - (ECD_ALPHA_POINTS - 1)) / ECD_ALPHA_EIGHTHS);
    int first = first_of_four(at, ECD_ALPHA_POINTS);
    const double *above = &law->above[first];
    cubic(at - first, weights);
    return weights[0] * above[0] + weights[1] * above[1] + weights[2] * above[2] + weights[3] * above[3];
}
