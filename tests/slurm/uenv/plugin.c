/*
 * What the options of ../spank/options.c do on production sites, for tests: a second plugin, after that one.
 *
 * At submission, the variables of the views in UENV_VIEW are set: beside an image lies a shell script for each
 * of its views, IMAGE.VIEW.sh. On the node, each task has the images of UENV_MOUNT_LIST mounted.
 *
 * A step with --environment has the files and the variables of a "container": the plugin's argument is a
 * directory that is /opt there. The variables are those of Enroot's hook for PyTorch, and a PATH.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <slurm/spank.h>

#include "mounts.h"

SPANK_PLUGIN(launcher_test_uenv, 1)

#define ROOM 4096

static const char *variables[][2] = {
    {"PATH", "/opt/python/bin:/usr/bin:/bin"},
    {"PYTORCH_VERSION", "2.9.0"},
    {"RANK", "0"},
    {"LOCAL_RANK", "0"},
    {"WORLD_SIZE", "1"},
    {"MASTER_ADDR", "nid001"},
    {"MASTER_PORT", "29500"},
};

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

static int enter_container(spank_t spank, const char *opt)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) ||
        mount(opt, "/opt", NULL, MS_BIND, NULL)) {
        slurm_error("no container: %s", strerror(errno));
        return -1;
    }
    for (size_t each = 0; each < sizeof variables / sizeof *variables; each++) {
        if (spank_setenv(spank, variables[each][0], variables[each][1], 1) != ESPANK_SUCCESS)
            return -1;
    }
    return 0;
}

int slurm_spank_task_init_privileged(spank_t spank, int count, char *arguments[])
{
    char value[ROOM], problem[ROOM + 512];
    uid_t user;
    if (spank_getenv(spank, "CONTAINER_ENVIRONMENT", value, sizeof value) == ESPANK_SUCCESS)
        return count ? enter_container(spank, arguments[0]) : -1;
    if (spank_getenv(spank, "UENV_MOUNT_LIST", value, sizeof value) != ESPANK_SUCCESS || !*value)
        return 0;
    if (spank_get_item(spank, S_JOB_UID, &user) != ESPANK_SUCCESS)
        return -1;
    if (!mount_images(value, user, problem, sizeof problem))
        return 0;
    slurm_error("uenv: %s", problem);
    return -1;
}
