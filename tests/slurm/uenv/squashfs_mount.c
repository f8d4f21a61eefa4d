/*
 * squashfs-mount --sqfs=FILE:MOUNT[,...] -- COMMAND: a stand-in of uenv's program of that name, for tests.
 *
 * Set-uid root: the dynamic linker takes LD_LIBRARY_PATH, TMPDIR and others out of its environment. What
 * stands there as SQFSMNT_FWD_NAME becomes NAME for the command, which has its user's rights and can get no
 * others.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "mounts.h"

#define OPTION "--sqfs="
#define FORWARD "SQFSMNT_FWD_"

extern char **environ;

static int fail(const char *words)
{
    fprintf(stderr, "squashfs-mount: error: %s\n", words);
    return 1;
}

static void forward(void)
{
    for (char **each = environ; *each;) {
        char *entry = *each, *value = strchr(entry, '=');
        if (strncmp(entry, FORWARD, strlen(FORWARD)) || !value) {
            each++;
            continue;
        }
        char *name = strndup(entry + strlen(FORWARD), value - entry - strlen(FORWARD));
        char *old = strndup(entry, value - entry);
        setenv(name, value + 1, 1);
        unsetenv(old);
        free(name);
        free(old);
        each = environ;
    }
}

int main(int count, char *arguments[])
{
    char problem[4608];
    if (count < 4 || strncmp(arguments[1], OPTION, strlen(OPTION)) || strcmp(arguments[2], "--"))
        return fail("usage: squashfs-mount --sqfs=FILE:MOUNT[,...] -- COMMAND");
    if (geteuid())
        return fail("it is not set-uid root");
    if (mount_images(arguments[1] + strlen(OPTION), getuid(), problem, sizeof problem))
        return fail(problem);
    gid_t group = getgid();
    uid_t user = getuid();
    if (setresgid(group, group, group) || setresuid(user, user, user))
        return fail("unable to give up root's rights");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fail("unable to set no_new_privs");
    forward();
    execvp(arguments[3], arguments + 3);
    perror("squashfs-mount: error: exec");
    return 1;
}
