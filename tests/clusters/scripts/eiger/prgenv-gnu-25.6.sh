#!/bin/bash
# launch 00000000000000000000000000000000
#SBATCH --job-name=jupyterhub-launcher
#SBATCH --output=jupyterlab-%j.log
#SBATCH --partition=normal
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=60
#SBATCH --no-requeue
#SBATCH --signal=B:USR1@60
#SBATCH --constraint=mc

launch_hub=https://hub.example.org/hub/api
launch_ticket=0000000000000000000000000000000000000000000000000000000000000000

# Tells the hub, for whom it does not wait long. The ticket goes through standard input: an argument list is
# open to every user of the node.
# shellcheck disable=SC2317,SC2329
launch_tell() {
    if command -v curl >/dev/null; then
        printf %s "$1" | LD_LIBRARY_PATH='' LD_PRELOAD='' \
            curl --silent --noproxy '*' --max-time 10 --output /dev/null \
            --header 'Content-Type: application/json' --data-binary @- "$launch_hub/launcher/events"
    elif command -v python3 >/dev/null; then
        printf %s "$1" | LD_LIBRARY_PATH='' LD_PRELOAD='' \
            python3 -I -c '
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), {"Content-Type": "application/json"})
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)
' "$launch_hub/launcher/events" 2>/dev/null
    fi
}

# The hub learns at once that the script ended, however it ended.
# shellcheck disable=SC2317,SC2329
launch_ended() {
    local code=$?
    { set +x; } 2>/dev/null # no ticket in the log
    trap - EXIT
    set +eu
    [ -z "${launch_pulling:-}" ] || kill "$launch_pulling" "${launch_telling:-$launch_pulling}" 2>/dev/null
    launch_tell "{\"ticket\":\"$launch_ticket\",\"job_id\":\"${SLURM_JOB_ID:-}\",\"exit_code\":$code}"
    # In a shell of its own, so that it can't end this one.
    (
        :
    )
    exit "$code"
}

# Slurm signals only this shell. A signal may come before there is a server, or before its pid is noted.
# shellcheck disable=SC2317,SC2329
launch_signalled() {
    local server="${launch_server:-}"
    if [ -z "$server" ] && [ -n "${launch_before+set}" ] && [ "${!:-}" != "$launch_before" ]; then
        server=$!
    fi
    [ -n "$server" ] || exit 143
    kill "-$1" "$server" 2>/dev/null
}

launch_traps() {
    trap launch_ended EXIT
    trap 'launch_signalled TERM' TERM
    trap 'launch_signalled USR1' USR1
}
launch_traps


# The lines above may have set traps of their own, show each command in the log, which is no place for the
# ticket, and have left something in the background that is not the server.
{ set +x; } 2>/dev/null
trap - ERR DEBUG RETURN
launch_traps

# Images that the repository does not hold, or whose files are gone from it, are pulled. uenv itself sees to it
# that of several jobs only one does so at a time.
launch_file_of() {
    uenv image inspect --format='{sqfs}' "$1" 2>/dev/null
}

# Calls $2 every few seconds with an image, the bytes of it that are there, and those of all of it: `null` where
# that can't be told. uenv keeps an image in the directory images/SHA256 of its repository, and lists it by the
# first digits of that, with its size in MiB.
launch_follow_pull() {
    set +euf
    local IFS=$' \t\n' id='' size='' repo='' path count total=null there
    read -r _ _ _ id size _ <<< "$(uenv image find --no-header "$1" 2>/dev/null)"
    if [[ $size =~ ^[0-9][0-9.,\']{0,12}$ ]]; then
        size=${size//[!0-9]/}
        total=$((10#$size * 1048576))
        [ "$total" -gt 0 ] || total=null
    fi
    if [ -z "$repo" ] && [[ "$(uenv repo status 2>/dev/null)" =~ 'the repository '(/.*)' is ' ]]; then
        repo=${BASH_REMATCH[1]}
    fi
    while :; do
        there=null
        if [ -n "$repo" ] && [[ $id =~ ^[0-9a-f]{16}$ ]]; then
            for path in "$repo/images/$id"*; do
                [ -d "$path" ] || continue
                read -r count _ <<< "$(du -sb "$path" 2>/dev/null)"
                [[ $count =~ ^[1-9][0-9]{0,17}$ ]] && there=$count
            done
        fi
        "$2" "$1" "$there" "$total"
        sleep 3 || break
    done
}

# Pulls an image if it is not there, and fails if it is not there then. What it starts is waited for in the
# background, so that a signal ends the wait at once; who gets one ends $launch_pulling and $launch_telling.
launch_pull() {
    local code=0 file
    file=$(launch_file_of "$1")
    [ ! -s "$file" ] || return 0
    echo "Pulling $1"
    # A repository that is there already, or up to date, is as good.
    uenv repo create >/dev/null 2>&1
    [ -z "$file" ] || uenv repo update
    uenv image pull "$1" &
    launch_pulling=$!
    launch_follow_pull "$1" "$2" &
    launch_telling=$!
    wait "$launch_pulling" || code=$?
    kill "$launch_telling" 2>/dev/null
    wait "$launch_telling" 2>/dev/null
    launch_pulling=''
    file=$(launch_file_of "$1")
    [ ! -s "$file" ] || return 0
    echo "The image $1 could not be pulled (uenv's exit code: $code)." >&2
    return 1
}

# shellcheck disable=SC2317,SC2329
launch_tell_pull() {
    local amount="\"image\":\"$1\",\"done\":$2,\"total\":$3"
    launch_tell "{\"ticket\":\"$launch_ticket\",\"job_id\":\"${SLURM_JOB_ID:-}\",$amount}"
}

launch_pull jupyterlab/v4.6:v1 launch_tell_pull || exit 25
launch_pull prgenv-gnu/25.6:v2 launch_tell_pull || exit 25
launch_before="${!:-}"

# The server's own Python must not meet what these lines, or a view, have set for the user's: it begins without
# it, and hands it on to kernels. A posix shell reads no BASH_ENV; of those, Bash hands functions on, too.
# shellcheck disable=SC2016
launch_apart='for launch_name in LD_LIBRARY_PATH LD_PRELOAD TMPDIR PYTHONHOME PYTHONPATH PYTHONNOUSERSITE \
    PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONINSPECT PYTHONINTMAXSTRDIGITS PYTHONMALLOC PYTHONOPTIMIZE \
    PYTHONPLATLIBDIR PYTHONSTARTUP PYTHONTRACEMALLOC PYTHONUNBUFFERED PYTHONUSERBASE PYTHONUTF8 PYTHONWARNINGS; do
    eval "export LAUNCHER_KEPT_$launch_name=\"\${$launch_name-}\""
    unset "$launch_name"
done
export PYTHONNOUSERSITE=1
exec "$@"'

# uenv does not start without a directory for temporary files.
[ -d "${TMPDIR:-}" ] || export TMPDIR=/tmp
LAUNCHER_HUB_URL="$launch_hub" LAUNCHER_TICKET="$launch_ticket" LAUNCHER_CLAIM_TIMEOUT=120 \
    uenv run jupyterlab/v4.6:v1:/user-tools,prgenv-gnu/25.6:v2:/user-environment --view=prgenv-gnu:default -- /bin/bash --posix -c "$launch_apart" sh \
    /user-tools/env/jupyter/bin/launcher-singleuser &
launch_server=$!

# `wait` returns when a trap has run; the server's own exit code counts. Of a server that ends in that very
# moment Bash may know none (127) or have lost it (-1): then the signal's stands.
set +e
while :; do
    wait "$launch_server"
    launch_code=$?
    kill -0 "$launch_server" 2>/dev/null && continue
    wait "$launch_server" 2>/dev/null
    launch_again=$?
    case $launch_again in -1 | 127) ;; *) launch_code=$launch_again ;; esac
    break
done
exit "$launch_code"
