#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "mounts.h"

#define FREE_LOOP_TRIES 50

/* Attach a file to a loop device that is freed with its last mount; return its descriptor, or -1. */
static int attach(int file, char *device, int size)
{
    struct loop_config config = {.fd = file, .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop = -1;
    /* Between question and answer, another may take the device. */
    for (int each = 0; control >= 0 && each < FREE_LOOP_TRIES; each++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            break;
        snprintf(device, size, "/dev/loop%d", number);
        loop = open(device, O_RDONLY | O_CLOEXEC);
        if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &config))
            break;
        int why = errno;
        if (loop >= 0)
            close(loop);
        loop = -1;
        errno = why;
        if (why != EBUSY)
            break;
    }
    if (control >= 0)
        close(control);
    return loop;
}

int own_mounts(void)
{
    return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) ? -1 : 0;
}

int mount_image(const char *path, const char *place, unsigned user)
{
    char device[32];
    uid_t self = geteuid();
    if (seteuid(user))
        return -1;
    int file = open(path, O_RDONLY | O_CLOEXEC), why = errno;
    if (seteuid(self))
        return -1;
    errno = why;
    if (file < 0)
        return -1;
    int loop = attach(file, device, sizeof device);
    int failed = loop < 0 || mount(device, place, "squashfs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
    why = errno;
    close(file);
    if (loop >= 0)
        close(loop);
    errno = why;
    return failed ? -1 : 0;
}

int mount_images(const char *list, unsigned user, char *problem, int size)
{
    char copy[4096], *rest = copy;
    if (snprintf(copy, sizeof copy, "%s", list) >= (int)sizeof copy) {
        snprintf(problem, size, "the list of images is too long");
        return -1;
    }
    if (own_mounts()) {
        snprintf(problem, size, "no mount namespace: %s", strerror(errno));
        return -1;
    }
    for (char *one; (one = strsep(&rest, ","));) {
        char *place = strrchr(one, ':');
        if (!place || place[1] != '/') {
            snprintf(problem, size, "not FILE:MOUNT: %s", one);
            return -1;
        }
        *place++ = 0;
        if (mount_image(one, place, user)) {
            snprintf(problem, size, "unable to mount %s at %s: %s", one, place, strerror(errno));
            return -1;
        }
    }
    return 0;
}
