#!/bin/sh
# uenv [--repo=DIR] run [--view=V] IMAGE,... -- COMMAND, and uenv [--repo=DIR] start [--view=V] IMAGE,...: a
# stand-in of the program of that name, for tests. An image is a file, or a label of DIR/NAME.squashfs; a script
# beside the image, IMAGE.VIEW.sh, loads a view. squashfs-mount lies beside this script.
set -eu

fail() {
    echo "uenv: error: $1" >&2
    exit 1
}

here=$(dirname "$0")
repo='' view='' images='' kind=''
while [ "$#" -gt 0 ]; do
    case $1 in
        --repo=*) repo=${1#--repo=} ;;
        --view=*) view=${1#--view=} ;;
        --ignore-tty) ;;
        --) shift && break ;;
        run | start) kind=$1 ;;
        *) images=$1 ;;
    esac
    shift
done
[ "$kind" ] && [ "$images" ] || fail "usage: uenv run|start [--view=VIEW] IMAGE [-- COMMAND]"
[ "$kind" = run ] || set -- "$SHELL"
[ -d "${TMPDIR:-}" ] || fail "TMPDIR is no directory"

IFS=,
mounts='' names=''
for image in $images; do
    case $image in
        *:/*) mount=${image##*:} file=${image%:*} ;;
        *) mount='' file=$image ;;
    esac
    case $file in
        /*) ;;
        *) file=$repo/${file%%[/:@%]*}.squashfs ;;
    esac
    [ -r "$file" ] || fail "no uenv matches $image"
    [ "$mount" ] || mount=$(unsquashfs -cat "$file" meta/env.json | sed 's/.*"mount": "\([^"]*\)".*/\1/')
    mounts=$mounts,$file:$mount
    name=${file##*/}
    names="$names,$mount:${name%%.*}:$file"
done

loaded=''
for each in $view; do
    found=''
    for image in $names; do
        file=${image##*:} named=${image%:*}
        case $each in
            *:*) [ "${each%:*}" = "${named#*:}" ] || continue ;;
        esac
        [ -r "$file.${each##*:}.sh" ] || continue
        # shellcheck disable=SC1090
        . "$file.${each##*:}.sh"
        found=,$named:${each##*:}
        break
    done
    [ "$found" ] || fail "the view $each is of no uenv of this session"
    loaded=$loaded$found
done
unset IFS

# What does not survive a set-uid program.
for name in LD_LIBRARY_PATH LD_PRELOAD TMPDIR; do
    eval "[ -z \"\${$name+set}\" ] || export SQFSMNT_FWD_$name=\"\$$name\""
done
export UENV_MOUNT_LIST="${mounts#,}" UENV_VIEW="${loaded#,}"
exec "$here/squashfs-mount" --sqfs="$UENV_MOUNT_LIST" -- "$@"
