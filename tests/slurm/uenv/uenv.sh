#!/bin/sh
# uenv [--repo=DIR] run [--view=V] IMAGE,... -- COMMAND, uenv start [--view=V] IMAGE,..., uenv repo create|status|
# update, and uenv image ls|find|inspect|pull: a stand-in of the program of that name, for tests. squashfs-mount
# lies beside this script.
#
# An image is a file, a label of DIR/NAME.squashfs, or one of the images that were pulled; a script beside the
# image, IMAGE.VIEW.sh, loads a view. The file index.db of a repository, and the file listing of the directory
# $UENV_REGISTRY, hold a line an image: name version tag uarch system sha256 date; the registry's images are
# the files SHA256.squashfs there. Files there tell what it is like: pause (seconds between two tenths of an
# image), down, full.
set -eu

fail() {
    echo "uenv: error: $1" >&2
    exit 1
}

error() {
    echo "error: $1" >&2
}

here=$(dirname "$0")
repo='' view='' images='' kind='' what='' format='{name}/{version}:{tag}' header=yes force=''
while [ "$#" -gt 0 ]; do
    case $1 in
        --repo=*) repo=${1#--repo=} ;;
        --view=*) view=${1#--view=} ;;
        --format=*) format=${1#--format=} ;;
        --no-header) header='' ;;
        --force) force=yes ;;
        --ignore-tty) ;;
        --) shift && break ;;
        run | start | image | repo) [ "$kind" ] && images=$1 || kind=$1 ;;
        *) case $kind$what in image | repo) what=$1 ;; *) images=$1 ;; esac ;;
    esac
    shift
done
if [ "${SCRATCH:-}" ]; then default=$SCRATCH/.uenv-images; else default=${HOME:-}/.uenv; fi
repo=${repo:-$default}
registry=${UENV_REGISTRY:-}

# Prints the lines of a list that a label fits.
fitting() {
    [ -r "$1" ] || return 0
    rest=$2 uarch='' system='' tag='' version=''
    case $rest in *%*) uarch=${rest##*%} rest=${rest%\%*} ;; esac
    case $rest in *@*) system=${rest##*@} rest=${rest%@*} ;; esac
    case $rest in *:*) tag=${rest##*:} rest=${rest%:*} ;; esac
    case $rest in */*) version=${rest#*/} rest=${rest%%/*} ;; esac
    [ "$system" != '*' ] || system=''
    awk -v n="$rest" -v v="$version" -v t="$tag" -v u="$uarch" -v s="$system" '
        (n == "" || $1 == n) && (v == "" || $2 == v) && (t == "" || $3 == t) && (u == "" || $4 == u) &&
        (s == "" || $5 == s)' "$1"
}

# Prints what fits as a table; the size is in MiB, with separators of thousands.
table() {
    [ ! "$header" ] || echo 'uenv  arch  system  id  size(MB)  date'
    while read -r name version tag uarch system sha date; do
        file=$1/$sha$2
        size=$(($(stat -c %s "$file" 2>/dev/null || echo 0) / 1048576))
        [ "$size" -lt 1000 ] || size=$((size / 1000)),$(printf %03d $((size % 1000)))
        printf '%s  %s  %s  %.16s  %6s    %s\n' "$name/$version:$tag" "$uarch" "$system" "$sha" "$size" "$date"
    done
}

listed() {
    [ -n "$registry" ] && [ ! -e "$registry/down" ] && return
    error 'unable to get a listing of the uenv'
    exit 1
}

pull() {
    listed
    found=$(fitting "$registry/listing" "$images")
    [ "$found" ] || { error "no uenv found that match '$images'"; exit 1; }
    if [ "$(echo "$found" | cut -d ' ' -f 6 | sort -u | wc -l)" != 1 ]; then
        error "more than one uenv found that matches '$images':"
        echo "$found" | table "$registry" .squashfs >&2
        exit 1
    fi
    found=$(echo "$found" | head -n 1)
    # shellcheck disable=SC2086
    set -- $found
    sha=$6 label=$1/$2:$3
    echo "pulling $(echo "$sha" | cut -c 1-16) $label@$5%$4"
    [ -e "$repo/index.db" ] || { error "unable to open repo: $repo is not a repository"; exit 1; }
    store=$repo/images/$sha
    mkdir -p "$repo/images"
    exec 9> "$store.lock"
    flock 9
    if [ "$force" ] || ! grep -q "$sha" "$repo/index.db"; then
        echo "$label" >> "$registry/pulled"
        mkdir -p "$store"
        : > "$store/store.squashfs"
        tenth=$(($(stat -c %s "$registry/$sha.squashfs") / 10 + 1))
        for part in 0 1 2 3 4 5 6 7 8 9; do
            if [ -e "$registry/full" ] && [ "$part" = 5 ]; then
                error "unable to pull digest with oras: write $store/store.squashfs: no space left on device"
                exit 1
            fi
            sleep "$(cat "$registry/pause" 2>/dev/null || echo 0)"
            tail -c +$((part * tenth + 1)) "$registry/$sha.squashfs" | head -c "$tenth" >> "$store/store.squashfs"
            printf '\rpulling uenv %s0%%' "$part"
        done
        echo
        for script in "$registry/$sha.squashfs".*.sh; do
            [ ! -e "$script" ] || cp "$script" "$store/store.squashfs${script#"$registry/$sha.squashfs"}"
        done
    fi
    [ "$(fitting "$repo/index.db" "$label")" ] || echo "$found" >> "$repo/index.db"
}

case $kind,$what in
    repo,create)
        [ ! -e "$repo/index.db" ] || { error "the repository $repo already exists"; exit 1; }
        mkdir -p "$repo" 2>/dev/null || { error "unable to create repository $repo"; exit 1; }
        : > "$repo/index.db"
        exit ;;
    repo,status)
        if [ -e "$repo/index.db" ]; then
            echo "the repository $repo is readwrite"
        else
            echo "$repo is not a repository"
        fi
        exit ;;
    repo,update)
        [ -e "$repo/index.db" ] || { error "no repository at $repo"; exit 1; }
        : > "$repo/index.new"
        while read -r line; do
            # shellcheck disable=SC2086
            set -- $line
            [ ! -e "$repo/images/$6/store.squashfs" ] || echo "$line" >> "$repo/index.new"
        done < "$repo/index.db"
        mv "$repo/index.new" "$repo/index.db"
        echo "The repository $repo is up to date"
        exit ;;
    image,ls) fitting "$repo/index.db" "$images" | table "$repo/images" /store.squashfs && exit ;;
    image,find) listed && fitting "$registry/listing" "$images" | table "$registry" .squashfs && exit ;;
    image,pull) pull && exit ;;
    image,inspect)
        [ -e "$repo/index.db" ] || { error "unable to open repo: $repo is not a repository"; exit 1; }
        fitting "$repo/index.db" "$images" | {
            read -r name version tag uarch system sha date || { error 'no matching uenv'; exit 0; }
            ! read -r _ || { error "more than one uenv match the search criteria '$images'"; exit 1; }
            store=$repo/images/$sha
            echo "$format" | sed -e "s|{name}|$name|; s|{version}|$version|; s|{tag}|$tag|; s|{system}|$system|" \
                -e "s|{uarch}|$uarch|; s|{sha256}|$sha|; s|{date}|$date|; s|{path}|$store|" \
                -e "s|{sqfs}|$store/store.squashfs|"
        }
        exit ;;
esac

{ [ "$kind" = run ] || [ "$kind" = start ]; } && [ "$images" ] ||
    fail "usage: uenv run|start [--view=VIEW] IMAGE [-- COMMAND]"
[ "$kind" = run ] || set -- "$SHELL"
[ -d "${TMPDIR:-}" ] || fail "TMPDIR is no directory"

mounts='' names=''
for image in $(echo "$images" | tr , ' '); do
    case $image in
        *:/*) mount=${image##*:} file=${image%:*} ;;
        *) mount='' file=$image ;;
    esac
    name=${file##*/}
    case $file in
        /*) ;;
        *)
            name=${file%%[/:@%]*}
            sha=$(fitting "$repo/index.db" "$file" | cut -d ' ' -f 6 | head -n 1)
            if [ "$sha" ]; then file=$repo/images/$sha/store.squashfs; else file=$repo/$name.squashfs; fi ;;
    esac
    [ -r "$file" ] || fail "no uenv matches $image"
    [ "$mount" ] || mount=$(unsquashfs -cat "$file" meta/env.json | sed 's/.*"mount": "\([^"]*\)".*/\1/')
    mounts=$mounts,$file:$mount
    names="$names,$mount:${name%%.*}:$file"
done

IFS=,
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
