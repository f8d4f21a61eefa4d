#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "mounts.h"

#define IS(step, word) (!strcmp((step)->verb, word))

/* Have the rights of the user, or root's own again. */
static int act_as(uid_t user, gid_t group)
{
    if (user)
        return setegid(group) || seteuid(user) ? -1 : 0;
    return seteuid(0) || setegid(0) ? -1 : 0;
}

/* Return a user namespace in which root is the user, or -1. */
static int namespace_of(uid_t user, gid_t group)
{
    const char *names[] = {"uid_map", "gid_map"};
    unsigned ids[] = {user, group};
    char path[64];
    int state, found, failed = 0;
    pid_t child = fork();
    if (!child) {
        if (unshare(CLONE_NEWUSER))
            _exit(1);
        raise(SIGSTOP);
        _exit(1);
    }
    if (child < 0 || waitpid(child, &state, WUNTRACED) != child || !WIFSTOPPED(state))
        return -1;
    for (int each = 0; each < 2; each++) {
        snprintf(path, sizeof path, "/proc/%d/%s", child, names[each]);
        int map = open(path, O_WRONLY | O_CLOEXEC);
        failed |= map < 0 || dprintf(map, "0 %u 1\n", ids[each]) < 0;
        close(map);
    }
    snprintf(path, sizeof path, "/proc/%d/ns/user", child);
    found = open(path, O_RDONLY | O_CLOEXEC);
    kill(child, SIGKILL);
    waitpid(child, &state, 0);
    return failed ? -1 : found;
}

/* Let a user own the files of an image that is mounted somewhere. */
static int give(const char *place, uid_t user, gid_t group)
{
    int owner = namespace_of(user, group);
    int tree = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr owned = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = owner};
    int failed = owner < 0 || tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &owned, sizeof owned) ||
                 move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH);
    close(tree);
    close(owner);
    return failed ? -1 : 0;
}

/* Mount an image and, above it, memory for what is written: together they are `root` in the directory. */
static int mount_root(const char *image, const char *room, uid_t user, gid_t group)
{
    return mount("tmpfs", room, "tmpfs", 0, "mode=755") || chdir(room) || mkdir("image", 0755) ||
                   mkdir("upper", 0755) || mkdir("work", 0755) || mkdir("root", 0755) ||
                   chown("upper", user, group) || mount_image(image, "image", user) ||
                   give("image", user, group) ||
                   mount("overlay", "root", "overlay", 0, "lowerdir=image,upperdir=upper,workdir=work")
               ? -1
               : 0;
}

/* Open a directory or file of the node, as the user finds it, with all that is mounted in it. */
static int open_source(const char *path, int read_only, uid_t user, gid_t group)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    if (act_as(user, group))
        return -1;
    int file = open(path, O_PATH | O_CLOEXEC), why = errno;
    if (act_as(0, 0) || file < 0) {
        errno = why;
        return -1;
    }
    int tree = open_tree(file, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree >= 0 && read_only &&
        mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes))
        tree = -1;
    why = errno;
    close(file);
    errno = why;
    return tree;
}

/* Make a directory, or the place of a file, if it is not there. */
static int make_place(const char *path, int is_directory)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, 0755) && errno != EEXIST)
            return -1;
        *slash = '/';
    }
    if (!access(copy, F_OK))
        return 0;
    if (is_directory)
        return mkdir(copy, 0755);
    int file = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return file < 0 ? -1 : close(file);
}

static int write_file(const char *path, const char *text, mode_t mode)
{
    int file = make_place(path, 0) ? -1 : open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (file < 0)
        return -1;
    int failed = fchmod(file, mode) || write(file, text, strlen(text)) != (ssize_t)strlen(text);
    close(file);
    return failed ? -1 : 0;
}

static int attach(struct step *step)
{
    int failed = move_mount(step->tree, "", AT_FDCWD, step->second, MOVE_MOUNT_F_EMPTY_PATH), why = errno;
    close(step->tree);
    errno = why;
    return failed;
}

/* Take a step that needs the node's files; return -1 with errno. */
static int prepare(struct step *step, const char *room, uid_t user, gid_t group)
{
    if (IS(step, "image"))
        return mount_root(step->first, room, user, group);
    if (IS(step, "bind") || IS(step, "bind-ro")) {
        step->tree = open_source(step->first, IS(step, "bind-ro"), user, group);
        return step->tree < 0 ? -1 : 0;
    }
    return 0;
}

/* Take a step in the container, as the user where that is enough; return -1 with errno. */
static int take(struct step *step, uid_t user, gid_t group)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    struct stat about = {.st_mode = S_IFDIR};
    int bound = step->tree >= 0, tmpfs = IS(step, "tmpfs");
    if (bound && fstat(step->tree, &about))
        return -1;
    if (act_as(user, group))
        return -1;
    int failed = 0;
    if (bound || tmpfs)
        failed = make_place(bound ? step->second : step->first, S_ISDIR(about.st_mode));
    else if (IS(step, "directory"))
        failed = make_place(step->first, 1);
    else if (IS(step, "file") || IS(step, "program"))
        failed = write_file(step->first, step->second, IS(step, "file") ? 0644 : 0755);
    else if (IS(step, "workdir"))
        failed = chdir(step->first);
    int why = errno;
    if (act_as(0, 0))
        return -1;
    errno = why;
    if (failed)
        return -1;
    if (bound)
        return attach(step);
    if (tmpfs)
        return mount("tmpfs", step->first, "tmpfs", MS_NOSUID | MS_NODEV, NULL);
    if (IS(step, "read-only"))
        return mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof read_only);
    return 0;
}

static int fail(const struct step *step, char *problem, int size)
{
    int bound = IS(step, "bind") || IS(step, "bind-ro");
    snprintf(problem, size, "%s %s%s%s: %s", step->verb, step->first, bound ? " at " : "",
             bound ? step->second : "", strerror(errno));
    return -1;
}

int enter_container(struct plan *plan, const char *room, unsigned user, unsigned group, char *problem, int size)
{
    mode_t mask = umask(022);
    snprintf(problem, size, "no mount namespace");
    if (own_mounts())
        return -1;
    for (struct step *step = plan->steps; step < plan->steps + plan->count; step++) {
        if (prepare(step, room, user, group))
            return fail(step, problem, size);
    }
    snprintf(problem, size, "unable to enter %s", room);
    if (chdir(room) || chdir("root") || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return -1;
    for (struct step *step = plan->steps; step < plan->steps + plan->count; step++) {
        if (take(step, user, group))
            return fail(step, problem, size);
    }
    umask(mask);
    return 0;
}
