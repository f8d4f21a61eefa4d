/* What edf.py makes of an environment definition file: steps to take, in order. */

#define PLAN_STEPS 512

struct step {
    const char *verb, *first, *second;
    int tree; /* what a step that binds takes along, once it is opened */
};

struct plan {
    int count;
    struct step steps[PLAN_STEPS];
};

/*
 * Run edf.py. Return a plan, or NULL with words in `problem`, which has room for `size` characters.
 *
 * `environment` is the job's, `program` what shall run; the rest is of the job's user.
 */
struct plan *make_plan(const char *python, const char *script, const char *edf, unsigned user, unsigned group,
                       const char *program, char *const environment[], char *problem, int size);
