#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plan.h"

/* Run a command with an environment of its own; return 0 if it succeeded. */
static int run(char *const command[], int input, int output)
{
    char *const nothing[] = {NULL};
    int status = -1;
    pid_t child = fork();
    if (!child) {
        dup2(input, 0);
        dup2(output, 1);
        dup2(output, 2);
        execve(command[0], command, nothing);
        dprintf(2, "unable to run %s: %s", command[0], strerror(errno));
        _exit(1);
    }
    return child < 0 || waitpid(child, &status, 0) != child || status ? -1 : 0;
}

/* Return what a file holds, with a null character behind it. */
static char *content(int file, size_t *length)
{
    struct stat about;
    char *text = fstat(file, &about) ? NULL : calloc(1, about.st_size + 1);
    if (!text || pread(file, text, about.st_size, 0) != about.st_size)
        return NULL;
    *length = about.st_size;
    return text;
}

static const char *next(const char **rest, const char *end)
{
    const char *found = *rest < end ? *rest : NULL;
    if (found)
        *rest += strlen(found) + 1;
    return found;
}

static struct plan *read_plan(const char *text, size_t length)
{
    struct plan *plan = calloc(1, sizeof *plan);
    const char *rest = text, *end = text + length;
    while (plan && rest < end) {
        struct step step = {next(&rest, end), next(&rest, end), next(&rest, end), -1};
        if (!step.second || plan->count == PLAN_STEPS)
            return NULL;
        plan->steps[plan->count++] = step;
    }
    return plan;
}

struct plan *make_plan(const char *python, const char *script, const char *edf, unsigned user, unsigned group,
                       const char *program, char *const environment[], char *problem, int size)
{
    char uid[16], gid[16], *said = NULL;
    size_t length = 0;
    struct plan *plan = NULL;
    snprintf(uid, sizeof uid, "%u", user);
    snprintf(gid, sizeof gid, "%u", group);
    const char *command[] = {python, "-I", script, edf, uid, gid, program, NULL};
    int input = memfd_create("environment", MFD_CLOEXEC), output = memfd_create("plan", MFD_CLOEXEC);
    for (; *environment; environment++)
        dprintf(input, "%s%c", *environment, 0);
    lseek(input, 0, SEEK_SET);
    int failed = run((char *const *)command, input, output);
    said = content(output, &length);
    if (!failed && said)
        plan = read_plan(said, length);
    if (!plan)
        snprintf(problem, size, "%s", failed && said && *said ? said : "edf.py has made no plan");
    close(input);
    close(output);
    return plan;
}
