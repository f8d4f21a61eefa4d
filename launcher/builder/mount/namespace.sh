# Mounts images and directories in a mount namespace that is already private, then becomes a command.
#
#   sh -c THIS launcher [KIND SOURCE MOUNT]… -- COMMAND…
#
# KIND is `loop` (an image, by the kernel), `fuse` (an image, by squashfuse) or `bind` (a directory, writable).
# Exit code 125 if something can't be mounted; nothing has run then.
set -u

fail() {
    printf 'launcher: %s\n' "$*" >&2
    exit 125
}

# The tools of administrators are not in everybody's PATH; the command's own stays as it is.
tool() {
    PATH="$PATH:/usr/sbin:/sbin" "$@"
}

# Bind whatever is in one directory into another, which is empty.
bind_all() {
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        name=${entry##*/}
        if [ -L "$entry" ]; then
            cp -P -- "$entry" "$2/$name"
        elif [ -d "$entry" ]; then
            mkdir -- "$2/$name" && tool mount -n --rbind "$entry" "$2/$name"
        elif [ -e "$entry" ]; then
            : >"$2/$name" && tool mount -n --bind "$entry" "$2/$name"
        fi || [ ! -e "$entry" ] || return 1
    done
}

# Replace a directory by one in memory that holds the same, so that mount points can be made in it without touching
# the disk. /sys is where the parts lie meanwhile: nothing here needs it, and nobody mounts images in it.
open_up() {
    here=$(pwd -P) || here=/
    mode=$(stat -c %a "$1") || return 1
    tool mount -n -t tmpfs launcher /sys || return 1
    mkdir /sys/old /sys/new || return 1
    tool mount -n --rbind / /sys/old || return 1
    tool umount -n /sys/old/sys || return 1
    tool mount -n -t tmpfs -o "mode=$mode" launcher /sys/new || return 1
    bind_all "/sys/old$1" /sys/new || return 1
    if [ "$1" = / ]; then
        # Not chroot: a program in one may make no user namespaces, which some browsers and containers need.
        cd /sys/new && tool pivot_root . . && tool umount -n -l . || return 1
    else
        tool mount -n --move /sys/new "$1" && tool umount -n -l /sys || return 1
    fi
    cd "$here" 2>/dev/null || cd /
}

opened=:

make_mount_point() {
    above=$1
    until [ -e "$above" ] || [ -L "$above" ]; do
        above=${above%/*}
        above=${above:-/}
    done
    [ -d "$above" ] || fail "$1 can't be a mount point: $above is no directory."
    [ "$above" = "$1" ] && return
    case $opened in
    *:"$above":*) ;;
    *)
        open_up "$above" || fail "can't make the mount point $1."
        opened=$opened$above:
        ;;
    esac
    mkdir -p "$1" || fail "can't make the mount point $1."
}

served=

fuse() {
    program=$(command -v squashfuse_ll || command -v squashfuse) || return 1
    "$program" -o ro,nosuid,nodev,allow_other "$1" "$2" </dev/null >/dev/null || return 1
    served="$2 $served"
}

while [ "$1" != -- ]; do
    make_mount_point "$3"
    case $1 in
    loop) tool mount -n -t squashfs -o loop,ro,nosuid,nodev "$2" "$3" ;;
    fuse) fuse "$2" "$3" ;;
    bind) tool mount -n --bind "$2" "$3" ;;
    esac || fail "can't mount $2 at $3."
    shift 3
done
shift
# What is written there would be gone with the command.
while [ "$opened" != : ]; do
    opened=${opened#:}
    tool mount -n -o remount,bind,ro "${opened%%:*}" || fail "can't protect ${opened%%:*}."
    opened=:${opened#*:}
done
# squashfuse serves until it is unmounted, and as long as it lives, so does the namespace.
if [ "$served" ]; then
    # shellcheck disable=SC2016,SC2086 # expanded by the other shell; mounts have no blanks
    (PATH="$PATH:/usr/sbin:/sbin" setsid sh -c 'tail --pid="$0" -s 0.5 -f /dev/null; umount -n -l "$@"' $$ $served \
        </dev/null >/dev/null 2>&1 &)
fi
exec "$@"
