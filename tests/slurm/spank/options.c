/*
 * The options that a production site's SPANK plugins add to sbatch, srun and salloc, for tests on a
 * Slurm without those plugins: --uenv, --view and --repo as uenv has them, --environment as the container
 * engine has it. Arguments are checked by the plugins' grammar; nothing is mounted and no container starts.
 *
 * As uenv does, a submission gets UENV_MOUNT_LIST and UENV_VIEW in its environment, here in the words of
 * the options. Tasks of a step with --environment find it in CONTAINER_ENVIRONMENT.
 */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/spank.h>

SPANK_PLUGIN(launcher_test_options, 1)

#define NAME "[A-Za-z0-9_][A-Za-z0-9_.-]*"
#define FILE_PATH "[/.][A-Za-z0-9_./-]*"
#define LABEL NAME "(/" NAME ")?(:" NAME ")?(@(" NAME "|[*]))?(%" NAME ")?"
#define UENV "(" FILE_PATH "|" LABEL ")(:/[A-Za-z0-9_./-]*)?"
#define VIEW "(" NAME ":)?" NAME

static char *uenv, *view, *repo, *environment;

static int matches(const char *pattern, const char *text)
{
    regex_t compiled;
    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB))
        return 0;
    int found = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return found;
}

static int take(char **place, const char *option, const char *pattern, const char *given)
{
    if (!given || !matches(pattern, given)) {
        slurm_error("%s: invalid argument: %s", option, given ? given : "(none)");
        return -1;
    }
    free(*place);
    *place = strdup(given);
    return *place ? 0 : -1;
}

static int take_uenv(int value, const char *given, int remote)
{
    return take(&uenv, "uenv", "^" UENV "(," UENV ")*$", given);
}

static int take_view(int value, const char *given, int remote)
{
    return take(&view, "view", "^" VIEW "(," VIEW ")*$", given);
}

static int take_repo(int value, const char *given, int remote)
{
    return take(&repo, "repo", "^" FILE_PATH "$", given);
}

static int take_environment(int value, const char *given, int remote)
{
    return take(&environment, "environment", "^(" NAME "|[/.][A-Za-z0-9_./-]*[.]toml)$", given);
}

static struct spank_option options[] = {
    {"uenv", "<label|file>[:mount],...", "uenv images to mount", 1, 0, take_uenv},
    {"view", "[name:]view,...", "views of the uenv images to load", 1, 0, take_view},
    {"repo", "path", "repository of uenv images", 1, 0, take_repo},
    {"environment", "<name|file.toml>", "environment definition file of a container", 1, 0, take_environment},
    SPANK_OPTIONS_TABLE_END,
};

/* Whether the uenv that a view names is among the images; a file's name stands inside the file. */
static int names_an_image(const char *one)
{
    size_t length = strcspn(one, ":");
    if (!one[length])
        return 1;
    for (const char *image = uenv;; image++) {
        if (*image == '/' || *image == '.')
            return 1;
        if (!strncmp(image, one, length) && strchr("/:@%,", image[length]))
            return 1;
        image = strchr(image, ',');
        if (!image)
            return 0;
    }
}

static int check_views(void)
{
    if (!uenv) {
        slurm_error("--view is set, but --uenv is not");
        return -1;
    }
    for (const char *one = view; one; one = strchr(one, ',') ? strchr(one, ',') + 1 : NULL) {
        if (!names_an_image(one)) {
            slurm_error("the view %s is of no uenv of this session", one);
            return -1;
        }
    }
    return 0;
}

int slurm_spank_init(spank_t spank, int count, char *arguments[])
{
    spank_context_t context = spank_context();
    if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR && context != S_CTX_REMOTE)
        return 0;
    for (struct spank_option *option = options; option->name; option++) {
        if (spank_option_register(spank, option) != ESPANK_SUCCESS)
            return -1;
    }
    return 0;
}

int slurm_spank_init_post_opt(spank_t spank, int count, char *arguments[])
{
    spank_context_t context = spank_context();
    if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR)
        return 0;
    if (view && check_views())
        return -1;
    if (uenv)
        return setenv("UENV_MOUNT_LIST", uenv, 1) || setenv("UENV_VIEW", view ? view : "", 1) ? -1 : 0;
    return 0;
}

int slurm_spank_user_init(spank_t spank, int count, char *arguments[])
{
    if (environment && spank_setenv(spank, "CONTAINER_ENVIRONMENT", environment, 1) != ESPANK_SUCCESS)
        return -1;
    return 0;
}
