/* The images of a session, mounted in a mount namespace of its own. */

/*
 * Leave the mount namespace and mount FILE:MOUNT[,...] in a new one: read-only, nosuid, nodev. Each file is
 * opened as `user`. Return 0, or -1 with words in `problem`, which has room for `size` characters.
 */
int mount_images(const char *list, unsigned user, char *problem, int size);
