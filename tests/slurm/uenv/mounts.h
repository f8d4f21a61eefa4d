/* The images of a session, mounted in a mount namespace of its own. */

/* Leave the mount namespace for one of its own. Return 0, or -1 with errno. */
int own_mounts(void);

/* Mount an image: read-only, nosuid, nodev. Its file is opened as `user`. Return 0, or -1 with errno. */
int mount_image(const char *path, const char *place, unsigned user);

/*
 * Leave the mount namespace and mount FILE:MOUNT[,...] in a new one. Return 0, or -1 with words in `problem`,
 * which has room for `size` characters.
 */
int mount_images(const char *list, unsigned user, char *problem, int size);
