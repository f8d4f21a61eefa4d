/* A container, as the container engine makes one of Enroot's images. */

#include "plan.h"

/*
 * Enter the container of a plan: a mount namespace whose root is the image, with what the plan mounts.
 *
 * The user owns the image's files, and what is written to them lies in memory. `room` is an empty directory in
 * which the container is made. Return 0, or -1 with words in `problem`, which has room for `size` characters.
 */
int enter_container(struct plan *plan, const char *room, unsigned user, unsigned group, char *problem, int size);
