/*
 * What the options of ../spank/options.c do on production sites, for tests: a second plugin, after that one.
 *
 * At submission, the variables of the views in UENV_VIEW are set: beside an image lies a shell script for each
 * of its views, IMAGE.VIEW.sh. On the node, each task has the images of UENV_MOUNT_LIST mounted.
 *
 * A step with --environment is in a container, as the container engine makes it: the plugin's arguments are an
 * interpreter, the script edf.py, and an empty directory to make the container in.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slurm/spank.h>

#include "container.h"
#include "mounts.h"

SPANK_PLUGIN(launcher_test_uenv, 1)

#define ROOM 4096

/* Take over what a shell script makes of the environment. */
static int load(const char *script)
{
    char command[ROOM], *entry = NULL;
    size_t size = 0;
    snprintf(command, sizeof command, ". '%s' && exec env -0", script);
    FILE *output = popen(command, "r");
    if (!output)
        return -1;
    clearenv();
    while (getdelim(&entry, &size, 0, output) > 0) {
        char *value = strchr(entry, '=');
        *value++ = 0;
        setenv(entry, value, 1);
    }
    free(entry);
    return pclose(output) ? -1 : 0;
}

/* Load a view, given as [NAME:]VIEW, and append MOUNT:NAME:VIEW to `loaded`. */
static int load_view(const char *one, const char *images, char *loaded)
{
    char copy[ROOM], script[ROOM + 64], *rest = copy;
    const char *view = strchr(one, ':') ? strchr(one, ':') + 1 : one;
    snprintf(copy, sizeof copy, "%s", images);
    for (char *file; (file = strsep(&rest, ","));) {
        char *mount = strrchr(file, ':');
        *mount++ = 0;
        char *name = strrchr(file, '/') + 1;
        int length = strcspn(name, ".");
        snprintf(script, sizeof script, "%s.%s.sh", file, view);
        int named = view - one - 1;
        if (access(script, R_OK) || (named >= 0 && (named != length || strncmp(one, name, length))))
            continue;
        size_t used = strlen(loaded);
        snprintf(loaded + used, ROOM - used, "%s%s:%.*s:%s", used ? "," : "", mount, length, name, view);
        return load(script);
    }
    slurm_error("the view %s is of no uenv of this session", one);
    return -1;
}

static int load_views(const char *images, const char *views)
{
    char copy[ROOM], all[ROOM], loaded[ROOM] = "", *rest = copy;
    snprintf(copy, sizeof copy, "%s", views);
    snprintf(all, sizeof all, "%s", images);
    for (char *one; (one = strsep(&rest, ","));) {
        if (load_view(one, all, loaded))
            return -1;
    }
    return setenv("UENV_VIEW", loaded, 1);
}

static int check_images(const char *images)
{
    char copy[ROOM], *rest = copy;
    snprintf(copy, sizeof copy, "%s", images);
    for (char *file; (file = strsep(&rest, ","));) {
        char *mount = strrchr(file, ':');
        if (mount)
            *mount = 0;
        if (!mount || access(file, R_OK)) {
            slurm_error("no uenv matches %s", file);
            return -1;
        }
    }
    return 0;
}

int slurm_spank_init_post_opt(spank_t spank, int count, char *arguments[])
{
    spank_context_t context = spank_context();
    const char *images = getenv("UENV_MOUNT_LIST"), *views = getenv("UENV_VIEW");
    if ((context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR) || !images || !*images)
        return 0;
    if (check_images(images))
        return -1;
    /* In a session, they are loaded. */
    return !views || !*views || *views == '/' ? 0 : load_views(images, views);
}

/* Where the task's program starts in its container. */
static const char *workdir;

/* Enter the container of an EDF, with its variables; its entrypoint may come before the task's program. */
static int contain(spank_t spank, const char *edf, char *arguments[], char *problem, int size)
{
    uid_t user;
    gid_t group;
    int count;
    char **command, **environment;
    snprintf(problem, size, "Slurm does not tell what the task is");
    if (spank_get_item(spank, S_JOB_UID, &user) || spank_get_item(spank, S_JOB_GID, &group) ||
        spank_get_item(spank, S_JOB_ARGV, &count, &command) || spank_get_item(spank, S_JOB_ENV, &environment))
        return -1;
    struct plan *plan =
        make_plan(arguments[0], arguments[1], edf, user, group, command[0], environment, problem, size);
    if (!plan || enter_container(plan, arguments[2], user, group, problem, size))
        return -1;
    for (struct step *step = plan->steps; step < plan->steps + plan->count; step++) {
        if (!strcmp(step->verb, "program"))
            command[0] = strdup(step->first);
        else if (!strcmp(step->verb, "workdir"))
            workdir = step->first;
        else if (!strcmp(step->verb, "set"))
            spank_setenv(spank, step->first, step->second, 1);
        else if (!strcmp(step->verb, "unset"))
            spank_unsetenv(spank, step->first);
    }
    return 0;
}

int slurm_spank_task_init_privileged(spank_t spank, int count, char *arguments[])
{
    char value[ROOM], problem[ROOM + 512];
    uid_t user;
    if (spank_getenv(spank, "CONTAINER_ENVIRONMENT", value, sizeof value) == ESPANK_SUCCESS) {
        if (count == 3 && !contain(spank, value, arguments, problem, sizeof problem))
            return 0;
        slurm_error("container engine: %s", count == 3 ? problem : "the plugin has no arguments");
        return -1;
    }
    if (spank_getenv(spank, "UENV_MOUNT_LIST", value, sizeof value) != ESPANK_SUCCESS || !*value)
        return 0;
    if (spank_get_item(spank, S_JOB_UID, &user) != ESPANK_SUCCESS)
        return -1;
    if (!mount_images(value, user, problem, sizeof problem))
        return 0;
    slurm_error("uenv: %s", problem);
    return -1;
}

int slurm_spank_task_init(spank_t spank, int count, char *arguments[])
{
    /* Before, Slurm itself goes where the step was started, if that is in the container, too. */
    return workdir ? chdir(workdir) : 0;
}
